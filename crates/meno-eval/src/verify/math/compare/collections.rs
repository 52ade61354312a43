//! Compares lists, sets, vectors, ratios and permutation cycles.

use super::Compare;
use super::shape::{brackets, has_sign_choice, is_scalar, pairs, parts};
use crate::verify::math::names::{Assignment, assignment};
use crate::verify::math::tree::{Bracket, Expr, Literal};

/// Maximum number of parts of a list that are compared pairwise.
const MAX_PARTS: usize = 256;

impl Compare {
    /// Compares lists, sets, and terms with ±: the same parts in any order and any multiplicity.
    pub(super) fn lists(&mut self, a: &Expr, b: &Expr) -> bool {
        if let Some(same) = self.ordered(a, b).or_else(|| self.ordered(b, a)) {
            return same;
        }
        if let (Some(xs), Some(ys)) = (pairs(a), pairs(b)) {
            return self.unordered(&xs, &ys);
        }
        if !self.may_unwrap(a, b) || !self.may_unwrap(b, a) {
            return false;
        }
        let (Some(xs), Some(ys)) = (parts(a), parts(b)) else { return false };
        if xs.len().max(ys.len()) > MAX_PARTS {
            return false;
        }
        self.unordered(&xs, &ys)
    }

    /// True if `a` may equal `b` as the only element of a set: {5} for 5, but not {{5}} for {5}.
    pub(super) fn may_unwrap(&self, a: &Expr, b: &Expr) -> bool {
        match (a, b) {
            (_, Expr::List(_) | Expr::Set(_)) => true,
            (Expr::Set(items), _) if !has_sign_choice(b) => self.depth <= 1 && items.len() == 1 && is_scalar(&items[0]),
            (Expr::List(items), _) if !has_sign_choice(b) => items.len() == 1 || items.iter().any(has_sign_choice),
            _ => true,
        }
    }

    pub(super) fn unordered(&mut self, xs: &[Expr], ys: &[Expr]) -> bool {
        let mut within = |xs: &[Expr], ys: &[Expr]| xs.iter().all(|x| ys.iter().any(|y| self.same(x, y)));
        within(xs, ys) && within(ys, xs)
    }

    /// Compares unnamed values with values of different names, in this order: `x=1, y=2` and `1, 2` or `(1,2)`.
    pub(super) fn ordered(&mut self, named: &Expr, plain: &Expr) -> Option<bool> {
        let Expr::List(chains) = named else { return None };
        let values = match plain {
            Expr::List(items) | Expr::Tuple(Bracket::Round, items, Bracket::Round) => items,
            _ => return None,
        };
        let assigned: Vec<Assignment<'_>> = chains.iter().map(assignment).collect::<Option<_>>()?;
        let names: Vec<&Expr> = assigned.iter().map(|a| a.name).collect::<Option<_>>()?;
        let letter = |e: &Expr| e.to_string().chars().find(|c| c.is_alphabetic());
        let different = names.windows(2).any(|p| letter(p[0]) != letter(p[1]));
        let plain = values.iter().all(|v| !matches!(v, Expr::Chain(..)));
        if !different || !plain {
            return None;
        }
        let mut assigned: Vec<(String, &Expr)> =
            assigned.iter().zip(&names).map(|(a, name)| (name.to_string(), a.value)).collect();
        // Coordinates have a fixed order.
        if assigned.iter().all(|(name, _)| matches!(name.as_str(), "x" | "y" | "z")) {
            assigned.sort_by(|a, b| a.0.cmp(&b.0));
        }
        Some(values.len() == assigned.len() && assigned.iter().zip(values).all(|((_, value), v)| self.same(value, v)))
    }

    /// Compares a column vector with a tuple.
    pub(super) fn vectors(&mut self, a: &Expr, b: &Expr) -> bool {
        let (rows, items) = match (a, b) {
            (Expr::Matrix(rows), Expr::Tuple(l, items, r)) | (Expr::Tuple(l, items, r), Expr::Matrix(rows)) => {
                if brackets(*l, *r) != (Bracket::Round, Bracket::Round) {
                    return false;
                }
                (rows, items)
            }
            _ => return false,
        };
        rows.iter().all(|row| row.len() == 1)
            && rows.len() == items.len()
            && rows.iter().zip(items).all(|(row, item)| self.same(&row[0], item))
    }

    /// Compares ratios: 1 : 2 = 2 : 4.
    pub(super) fn ratios(&mut self, xs: &[Expr], ys: &[Expr]) -> bool {
        if xs.len() != ys.len() || ![xs, ys].into_iter().flatten().all(is_scalar) {
            return self.all(xs, ys);
        }
        let zero = Expr::Number(Literal::integer(0));
        let cross = |x: &Expr, y: &Expr| Expr::Mul(vec![x.clone(), y.clone()]);
        xs.iter().zip(ys).all(|(x, y)| {
            let zeros = (self.scalars(x, &zero), self.scalars(y, &zero));
            zeros.0 == zeros.1 && self.scalars(&cross(x, &ys[0]), &cross(y, &xs[0]))
        })
    }

    /// Compares disjoint cycles in any order, each starting at any element. Cycles of one element are ignored.
    pub(super) fn cycles(&mut self, xs: &[Vec<Expr>], ys: &[Vec<Expr>]) -> bool {
        let turned = |x: &Vec<Expr>, y: &Vec<Expr>| {
            x.len() == y.len() && (0..x.len()).any(|k| (0..x.len()).all(|i| x[(i + k) % x.len()] == y[i]))
        };
        let disjoint = |cycles: &[Vec<Expr>]| {
            let all: Vec<&Expr> = cycles.iter().flatten().collect();
            all.iter().enumerate().all(|(i, e)| !all[..i].contains(e))
        };
        if xs.len() != ys.len() || xs.iter().map(Vec::len).sum::<usize>() > MAX_PARTS {
            return false;
        }
        if !disjoint(xs) {
            return xs.iter().zip(ys).all(|(x, y)| turned(x, y));
        }
        xs.iter().all(|x| ys.iter().any(|y| turned(x, y)))
    }
}
