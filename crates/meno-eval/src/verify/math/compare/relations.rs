//! Compares chains of relations: assignments, equations, inequalities.

use super::Compare;
use super::shape::{are_names_of_a_function, is_coordinate, is_number, is_same_function, is_scalar, pairs};
use crate::verify::math::conditions::flipped;
use crate::verify::math::names::{Assignment, assignment};
use crate::verify::math::scalar::{self, Proportion};
use crate::verify::math::tree::{Bracket, Expr, Relation};

impl Compare {
    /// Compares a chain with another kind of answer: `x = 5` and 5, `x \in [1, 2]` and the interval.
    pub(super) fn named(&mut self, chain: &Expr, other: &Expr) -> bool {
        match assignment(chain) {
            Some(Assignment { name: Some(Expr::Tuple(..)), .. }) if pairs(other).is_some() => {
                match (pairs(chain), pairs(other)) {
                    (Some(xs), Some(ys)) => self.unordered(&xs, &ys),
                    _ => false,
                }
            }
            Some(Assignment { name: Some(Expr::Tuple(_, names, _)), value: Expr::Tuple(_, values, _), .. })
                if names.len() == values.len() && matches!(other, Expr::List(_) | Expr::Tuple(..)) =>
            {
                let list = pairs(chain).map(Expr::List);
                match (list, other) {
                    (Some(list), _) if self.ordered(&list, other) == Some(true) => true,
                    (_, Expr::Tuple(..)) if !names.iter().all(is_coordinate) => {
                        self.same(&Expr::Tuple(Bracket::Round, values.clone(), Bracket::Round), other)
                    }
                    _ => false,
                }
            }
            Some(Assignment { value, steps, .. }) => self.consistent(steps) && self.same(value, other),
            None => false,
        }
    }

    /// True if every step of `x = 2 + 3 = 5` holds.
    pub(super) fn consistent(&mut self, steps: &[Expr]) -> bool {
        steps.windows(2).all(|pair| self.same(&pair[0], &pair[1]))
    }

    pub(super) fn chains(&mut self, a: &Expr, b: &Expr) -> bool {
        let (Expr::Chain(xs, r), Expr::Chain(ys, s)) = (a, b) else { return false };
        if r == s && self.all(xs, ys) {
            return true;
        }
        // The same chain, read from the other end.
        let back: Option<Vec<Relation>> = s.iter().rev().map(|r| flipped(*r)).collect();
        if back.as_ref() == Some(r) && xs.iter().zip(ys.iter().rev()).all(|(x, y)| self.same(x, y)) {
            return true;
        }
        if let (Some(xs), Some(ys)) = (pairs(a), pairs(b)) {
            return self.unordered(&xs, &ys);
        }
        if let (Some(x), Some(y)) = (assignment(a), assignment(b))
            && let (Some(n), Some(m)) = (x.name, y.name)
            && (self.same(n, m)
                || are_names_of_a_function(n, m)
                || is_same_function(n, m) && is_number(x.value) && is_number(y.value))
        {
            return self.consistent(x.steps) && self.consistent(y.steps) && self.same(x.value, y.value);
        }
        self.equations(xs, r, ys, s)
    }

    /// Compares equations up to a factor, and inequalities up to a positive factor.
    pub(super) fn equations(&mut self, xs: &[Expr], r: &[Relation], ys: &[Expr], s: &[Relation]) -> bool {
        let ([x0, x1], [r], [y0, y1], [s]) = (xs, r, ys, s) else { return false };
        if ![x0, x1, y0, y1].into_iter().all(is_scalar) {
            return false;
        }
        let side = |x: &Expr, y: &Expr| Expr::Add(vec![x.clone(), Expr::Neg(Box::new(y.clone()))]);
        let (left, right) = (side(x0, x1), side(y0, y1));
        // 1 = 1 and 2 = 2 are not equations.
        if scalar::is_constant(&left) || scalar::is_constant(&right) {
            return false;
        }
        let proportion = scalar::proportional(&left, &right, &mut self.work);
        match r {
            Relation::Equal | Relation::NotEqual => {
                r == s && matches!(proportion, Proportion::Positive | Proportion::Negative | Proportion::Unsigned)
            }
            Relation::Less | Relation::LessEqual | Relation::Greater | Relation::GreaterEqual => match proportion {
                Proportion::Positive => r == s,
                Proportion::Negative => flipped(*r) == Some(*s),
                _ => false,
            },
            _ => false,
        }
    }
}
