//! Tests for constant multiples: a = c·b holds identically if a(x)·b(P) = a(P)·b(x) for a fixed point P.

use std::cmp::Ordering;

use num_rational::BigRational;

use super::arena::{Arena, Id};
use super::decide;
use super::equality::{Equality, Proportion};
use super::rational::ratio;
use super::substitute::{Replacement, images};
use super::work::{Failure, Work};

/// Reference points: the numerator and denominator of the k-th variable are derived from these.
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

/// Replaces each variable with a rational number.
fn substitute(arena: &mut Arena, root: Id, point: &[BigRational], work: &mut Work) -> Result<Id, Failure> {
    Ok(images(arena, &[root], &Replacement::Point(point), work)?[root])
}
