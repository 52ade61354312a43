//! Constant multiples: a = c·b holds identically if a(x)·b(P) = a(P)·b(x) for a fixed point P.

use std::cmp::Ordering;

use num_rational::BigRational;

use super::arena::{Arena, Id, Op};
use super::evaluate::Plan;
use super::rational::ratio;
use super::work::{Failure, Work};
use super::{Equality, Proportion, decide, lower};

/// Reference points: numerator and denominator of the k-th variable are made of these.
const REFERENCES: [(i64, i64); 5] = [(3, 2), (1, 3), (17, 5), (-2, 3), (-31, 4)];

pub(super) fn proportion(arena: &mut Arena, a: Id, b: Id, work: &mut Work) -> Result<Proportion, Failure> {
    let zero = arena.int(0, work)?;
    for (n, d) in REFERENCES {
        let point: Vec<BigRational> =
            (0..arena.atoms.len() as i64).map(|k| ratio(n * (2 * k + 3), d * (k + 3))).collect();
        let (at_a, at_b) = (substitute(arena, a, &point, work)?, substitute(arena, b, &point, work)?);
        match (decide::same(arena, at_a, zero, work), decide::same(arena, at_b, zero, work)) {
            (Equality::Different, Equality::Different) => {}
            (Equality::Equal, Equality::Different) | (Equality::Different, Equality::Equal) => {
                return Ok(Proportion::No);
            }
            _ => continue,
        }
        if !decide::is_defined(arena, at_a, work)? || !decide::is_defined(arena, at_b, work)? {
            continue;
        }
        let quotient = arena.div(at_a, at_b, work)?;
        let scaled = arena.mul(&[quotient, b], work)?;
        return Ok(match decide::same(arena, a, scaled, work) {
            Equality::Different => Proportion::No,
            Equality::Undecided => Proportion::Undecided,
            Equality::Equal => match decide::sign(arena, quotient, work)? {
                Some(Ordering::Greater) => Proportion::Positive,
                Some(Ordering::Less) => Proportion::Negative,
                _ => Proportion::Unsigned,
            },
        });
    }
    Ok(Proportion::Undecided)
}

/// The expression with a rational number for each variable.
fn substitute(arena: &mut Arena, root: Id, point: &[BigRational], work: &mut Work) -> Result<Id, Failure> {
    Ok(images(arena, &[root], &Replacement::Point(point), work)?[root])
}

/// What stands in the place of some nodes.
pub(super) enum Replacement<'a> {
    /// A rational number for each variable.
    Point(&'a [BigRational]),
    /// Other nodes for these.
    Nodes(&'a [(Id, Id)]),
}

/// The nodes that stand in the place of all nodes below some roots.
pub(super) fn images(
    arena: &mut Arena,
    roots: &[Id],
    replacement: &Replacement<'_>,
    work: &mut Work,
) -> Result<Vec<Id>, Failure> {
    let plan = Plan::new(arena, roots, work)?;
    let mut image: Vec<Id> = (0..arena.len()).collect();
    for &id in plan.nodes() {
        if let Replacement::Nodes(pairs) = replacement
            && let Some((_, other)) = pairs.iter().find(|(node, _)| *node == id)
        {
            image[id] = *other;
            continue;
        }
        let map = |ids: &[Id]| -> Vec<Id> { ids.iter().map(|&id| image[id]).collect() };
        image[id] = match (arena.op(id).clone(), replacement) {
            (Op::Variable(index), Replacement::Point(point)) => arena.rational(point[index].clone(), work)?,
            (Op::Add(c, ids), _) => {
                let mut ids = map(&ids);
                ids.push(arena.rational(c, work)?);
                arena.add(&ids, work)?
            }
            (Op::Mul(c, ids), _) => {
                let mut ids = map(&ids);
                ids.push(arena.rational(c, work)?);
                arena.mul(&ids, work)?
            }
            (Op::Pow(base, exponent), _) => arena.pow(image[base], image[exponent], work)?,
            (Op::Call(f, ids), _) => lower::apply_function(arena, f, map(&ids), work)?,
            (Op::Det(n, ids), _) => arena.intern(Op::Det(n, map(&ids)), work)?,
            (Op::Series { .. }, _) if arena.bound(id) == 0 => return Err(Failure::Limit),
            _ => id,
        };
    }
    Ok(image)
}
