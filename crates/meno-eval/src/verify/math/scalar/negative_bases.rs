//! Compares powers with variables in the exponent exactly at negative bases where every step of both sides is real:
//! (x^a)^b is x^{ab} for whole numbers only.

use super::arena::{Arena, Op};
use super::domain::{is_whole_name, variables};
use super::equality::Equality;
use super::evaluate::EvaluationOrder;
use super::pair::Pair;
use super::rational::{integer, ratio};
use super::substitute::{Replacement, images};
use super::work::{Failure, Work};

/// Exponents and bases for comparing powers.
const EXPONENTS: [(i64, i64); 8] = [(2, 1), (1, 2), (-1, 1), (1, 4), (4, 1), (3, 1), (1, 3), (2, 3)];
const BASES: [(i64, i64); 3] = [(-2, 1), (-1, 1), (-1, 3)];

/// The real variables in exponents, and the real variables in the bases of these powers.
pub(super) fn powers(
    arena: &Arena,
    plan: &EvaluationOrder,
    integers: &[bool],
    work: &mut Work,
) -> Result<(Vec<usize>, Vec<usize>), Failure> {
    let (mut exponents, mut bases) = (Vec::new(), Vec::new());
    for &id in plan.nodes() {
        let Op::Pow(base, exponent) = *arena.op(id) else { continue };
        if arena.bound(id) != 0 || arena.is_positive(base) || arena.is_real(exponent) {
            continue;
        }
        exponents.extend(variables(arena, &EvaluationOrder::new(arena, &[exponent], work)?));
        bases.extend(variables(arena, &EvaluationOrder::new(arena, &[base], work)?));
    }
    for list in [&mut exponents, &mut bases] {
        list.sort_unstable();
        list.dedup();
    }
    exponents.retain(|&v| !integers[v] && !is_whole_name(arena, v));
    Ok((exponents, bases))
}

/// Compares at negative bases with whole and fractional exponents, where all steps are real.
pub(super) fn at_powers(
    arena: &mut Arena,
    pair: Pair,
    plan: &EvaluationOrder,
    (exponents, bases): &(Vec<usize>, Vec<usize>),
    work: &mut Work,
) -> Result<Equality, Failure> {
    if exponents.is_empty() || bases.is_empty() {
        return Ok(Equality::Equal);
    }
    let count = EXPONENTS.len();
    let rounds = if exponents.len() == 1 { count } else { count * count };
    for round in 0..rounds {
        let mut point = vec![integer(3); arena.atoms.len()];
        for (k, &v) in exponents.iter().enumerate() {
            let (n, d) = EXPONENTS[if k == 0 { round % count } else { (round / count + k - 1) % count }];
            point[v] = ratio(n, d);
        }
        for (k, &v) in bases.iter().filter(|v| !exponents.contains(v)).enumerate() {
            let (n, d) = BASES[(round + k) % BASES.len()];
            point[v] = ratio(n, d);
        }
        let Ok(image) = images(arena, &[pair.a, pair.b], &Replacement::Point(&point), work) else {
            return Ok(Equality::Equal);
        };
        let real = plan.nodes().iter().all(|&id| arena.bound(id) != 0 || arena.is_real(image[id]));
        if real && (pair.same)(arena, image[pair.a], image[pair.b], work) == Equality::Different {
            return Ok(Equality::Different);
        }
    }
    Ok(Equality::Equal)
}
