//! Replaces variables or other nodes of a graph.

use num_rational::BigRational;

use super::arena::{Arena, Id, Op};
use super::calls::apply_function;
use super::evaluate::EvaluationOrder;
use super::work::{Failure, Work};

/// What replaces the nodes.
pub(super) enum Replacement<'a> {
    /// A rational number for each variable.
    Point(&'a [BigRational]),
    /// Pairs of a node and its replacement.
    Nodes(&'a [(Id, Id)]),
}

/// The replacement of every node below some roots, indexed by node.
pub(super) fn images(
    arena: &mut Arena,
    roots: &[Id],
    replacement: &Replacement<'_>,
    work: &mut Work,
) -> Result<Vec<Id>, Failure> {
    let plan = EvaluationOrder::new(arena, roots, work)?;
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
            (Op::Call(f, ids), _) => apply_function(arena, f, map(&ids), work)?,
            (Op::Det(n, ids), _) => arena.intern(Op::Det(n, map(&ids)), work)?,
            (Op::Series { .. }, _) if arena.bound(id) == 0 => return Err(Failure::Limit),
            _ => id,
        };
    }
    Ok(image)
}
