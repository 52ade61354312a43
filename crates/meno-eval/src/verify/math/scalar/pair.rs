//! Two expressions to compare, and their comparison at one point.

use super::arena::{Arena, Id};
use super::equality::Equality;
use super::substitute::{Replacement, images};
use super::work::{Failure, Work};
use num_rational::BigRational;

/// Decides whether two nodes are equal. The caller passes it in, because the decision itself calls this module.
pub(super) type Decide = fn(&mut Arena, Id, Id, &mut Work) -> Equality;

/// Two expressions to compare.
#[derive(Clone, Copy)]
pub(super) struct Pair {
    pub(super) a: Id,
    pub(super) b: Id,
    /// Decides about the two after numbers or other nodes replace some of their nodes.
    pub(super) same: Decide,
}

/// Compares exactly at a point.
pub(super) fn compare_at(
    arena: &mut Arena,
    pair: Pair,
    point: &[BigRational],
    work: &mut Work,
) -> Result<Equality, Failure> {
    match images(arena, &[pair.a, pair.b], &Replacement::Point(point), work) {
        Ok(image) => Ok((pair.same)(arena, image[pair.a], image[pair.b], work)),
        Err(_) if work.left() == 0 => Err(Failure::Limit),
        Err(_) => Ok(Equality::Undecided),
    }
}
