//! Decides whether two answers are the same.
//!
//! [`scalar`] compares scalars. This module compares everything else: names before `=`, units, lists and sets (order
//! and repeats do not matter), tuples and intervals (order and repeats matter), equations (up to a factor),
//! inequalities (as solution sets), matrices, ratios, text. docs/verifiers.md states the rules.

mod collections;
mod quantities;
mod relations;
mod shape;

use super::conditions::unknown;
use super::matrix;
use super::real_set::RealSet;
use super::rewritten;
use super::rewritten::children;
use super::scalar::{self, Equality, Work};
use super::tree::{Bracket, Expr, Function, Literal};
use super::units;
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Signed, Zero};
use shape::{brackets, has_complex_variable, has_sign_choice, is_scalar, scaled, set_in_words, written_decimal};
pub(super) use shape::{is_computable, is_number};
use std::cmp::Ordering;

/// A decimal with this many significant digits, some of them after the point, may stand for an irrational number.
const MIN_DIGITS: usize = 6;

/// True if two trees are the same answer.
pub fn same(a: &Expr, b: &Expr) -> bool {
    Compare::new().same(a, b)
}

/// True if a reading of one text is the same answer as a reading of another. All pairs share one work budget.
pub(super) fn any_same(a: &[Expr], b: &[Expr]) -> bool {
    let mut compare = Compare::new();
    a.iter().any(|a| b.iter().any(|b| compare.same(a, b)))
}

/// Adds quantities of one dimension, in the unit of the last one. Returns a single quantity unchanged.
fn total(e: &Expr) -> Option<Expr> {
    let Expr::Add(terms) = e else { return matches!(e, Expr::Quantity(..)).then(|| e.clone()) };
    let Some(Expr::Quantity(_, name)) = terms.last() else { return None };
    let last = units::parse(name)?;
    let values = terms.iter().map(|term| match term {
        Expr::Quantity(x, unit) => {
            let unit = units::parse(unit).filter(|u| u.dimension == last.dimension && u.temperature().is_none())?;
            Some(scaled(x, &(unit.factor / &last.factor)))
        }
        _ => None,
    });
    Some(Expr::Quantity(Box::new(Expr::Add(values.collect::<Option<_>>()?)), name.clone()))
}

/// A vector in coordinates. Coordinates stay as they are; i, j, k are converted only if the other side is in
/// coordinates or uses i, j, k too.
fn vector(e: &Expr, other: &Expr) -> Option<Expr> {
    let dimension = |e: &Expr| match e {
        Expr::Tuple(l, items, r) if brackets(*l, *r) == (Bracket::Round, Bracket::Round) => Some(items.len()),
        Expr::Matrix(rows) if rows.iter().all(|row| row.len() == 1) => Some(rows.len()),
        _ => None,
    };
    match (dimension(e), dimension(other)) {
        (Some(_), Some(_)) => None,
        (Some(_), None) => Some(e.clone()),
        (None, Some(n)) => rewritten::coordinates(e, n),
        (None, None) if accented(e) || accented(other) => rewritten::coordinates(e, 3),
        (None, None) => None,
    }
}

/// True if a unit vector has a hat or an arrow.
fn accented(e: &Expr) -> bool {
    matches!(e, Expr::Symbol(name) if name.starts_with('\\')) || children(e).into_iter().any(accented)
}

struct Compare {
    work: Work,
    /// Number of pairs that may still be compared.
    steps: usize,
    /// Depth of the current pair in both answers.
    depth: usize,
}

impl Compare {
    fn new() -> Compare {
        Compare { work: Work::default(), steps: 20_000, depth: 0 }
    }

    fn same(&mut self, a: &Expr, b: &Expr) -> bool {
        if self.steps == 0 {
            return false;
        }
        self.steps -= 1;
        self.depth += 1;
        let same = self.same_here(a, b);
        self.depth -= 1;
        same
    }

    fn same_here(&mut self, a: &Expr, b: &Expr) -> bool {
        if a == b {
            return self.is_defined(a);
        }
        if let Some(same) = self.rewritten(a, b) {
            return same;
        }
        match (a, b) {
            (Expr::Text(x), Expr::Text(y)) => x == y || set_in_words(x).is_some_and(|s| Some(s) == set_in_words(y)),
            // `EVEN`: capital letters that spell a word.
            (Expr::Text(words), Expr::Symbol(name)) | (Expr::Symbol(name), Expr::Text(words)) if name.len() > 2 => {
                *words == name.to_ascii_lowercase()
                    || set_in_words(words).is_some_and(|set| set == Expr::Symbol(name.clone()))
            }
            (Expr::Text(words), other) | (other, Expr::Text(words)) => {
                set_in_words(words).is_some_and(|set| self.same(&set, other))
            }
            // P(2, 3) is a point.
            (Expr::Apply(name, xs), Expr::Tuple(Bracket::Round, ys, Bracket::Round))
            | (Expr::Tuple(Bracket::Round, ys, Bracket::Round), Expr::Apply(name, xs))
                if xs.len() > 1 && name.starts_with(|c: char| c.is_ascii_uppercase()) =>
            {
                self.all(xs, ys)
            }
            (Expr::Quantity(..) | Expr::Add(_), Expr::Quantity(..) | Expr::Add(_))
                if total(a).is_some()
                    && total(b).is_some()
                    && (total(a).as_ref(), total(b).as_ref()) != (Some(a), Some(b)) =>
            {
                let (Some(x), Some(y)) = (total(a), total(b)) else { return false };
                self.quantities(&x, &y)
            }
            (Expr::Quantity(..), _) | (_, Expr::Quantity(..)) => self.quantities(a, b),
            (Expr::Chain(..), Expr::Chain(..)) => self.chains(a, b) || self.sets(a, b),
            (Expr::Chain(..), other) | (other, Expr::Chain(..)) => {
                let chain = if matches!(a, Expr::Chain(..)) { a } else { b };
                self.named(chain, other) || self.sets(a, b)
            }
            (Expr::Apply(x, xs), Expr::Apply(y, ys)) if x == "\\pmod" && y == x => self.residues(xs, ys),
            (Expr::Apply(x, xs), Expr::Apply(y, ys)) if x == y && !(is_scalar(a) && is_scalar(b)) => self.all(xs, ys),
            (Expr::List(_) | Expr::Set(_), _) | (_, Expr::List(_) | Expr::Set(_)) => {
                self.lists(a, b) || self.sets(a, b)
            }
            (Expr::PlusMinus(_) | Expr::MinusPlus(_), _) | (_, Expr::PlusMinus(_) | Expr::MinusPlus(_)) => {
                self.lists(a, b)
            }
            (Expr::Tuple(l, xs, r), Expr::Tuple(m, ys, s)) => brackets(*l, *r) == brackets(*m, *s) && self.all(xs, ys),
            (Expr::Matrix(_), Expr::Tuple(..)) | (Expr::Tuple(..), Expr::Matrix(_)) => self.vectors(a, b),
            (x, _) | (_, x) if may_be_set(x) => self.sets(a, b) || self.structure(a, b),
            (Expr::Ratio(xs), Expr::Ratio(ys)) => self.ratios(xs, ys),
            (Expr::Ratio(xs), other) | (other, Expr::Ratio(xs)) => match xs.as_slice() {
                [x, y] => self.same(&Expr::Div(Box::new(x.clone()), Box::new(y.clone())), other),
                _ => false,
            },
            (Expr::Cycles(x), Expr::Cycles(y)) => self.cycles(x, y),
            (Expr::Logic(..), _) | (_, Expr::Logic(..)) => self.sets(a, b) || self.structure(a, b),
            (Expr::Degrees(x), Expr::Degrees(y)) => self.same(x, y),
            (Expr::Degrees(x), y) | (y, Expr::Degrees(x)) => self.same(x, y) || self.scalars(a, b),
            _ => self.values(a, b),
        }
    }

    /// Compares vectors over i, j, k with other vectors, and sums with dots.
    fn rewritten(&mut self, a: &Expr, b: &Expr) -> Option<bool> {
        if let (Some(x), Some(y)) = (vector(a, b), vector(b, a)) {
            return Some(self.same(&x, &y));
        }
        let (x, y) = (rewritten::without_dots(a), rewritten::without_dots(b));
        if x.is_none() && y.is_none() {
            return None;
        }
        Some(self.same(&x.unwrap_or_else(|| a.clone()), &y.unwrap_or_else(|| b.clone())))
    }

    /// `1/0` is not an answer and equals nothing, not even itself.
    fn is_defined(&mut self, e: &Expr) -> bool {
        match e {
            Expr::Add(_)
            | Expr::Mul(_)
            | Expr::Neg(_)
            | Expr::Div(..)
            | Expr::Pow(..)
            | Expr::Root(..)
            | Expr::Call(..) => scalar::defined(e, &mut self.work),
            Expr::List(items) | Expr::Set(items) | Expr::Tuple(_, items, _) => items.iter().all(|e| self.is_defined(e)),
            Expr::Quantity(x, _) => self.is_defined(x),
            _ => true,
        }
    }

    /// Compares pairwise, in order.
    fn all(&mut self, xs: &[Expr], ys: &[Expr]) -> bool {
        xs.len() == ys.len() && xs.iter().zip(ys).all(|(x, y)| self.same(x, y))
    }

    /// Compares scalars, matrices, alternatives with ±, and anything else by its structure.
    fn values(&mut self, a: &Expr, b: &Expr) -> bool {
        if has_sign_choice(a) || has_sign_choice(b) {
            return self.lists(a, b);
        }
        if is_scalar(a) && is_scalar(b) {
            return self.scalars(a, b);
        }
        if let (Some(x), Some(y)) = (matrix::evaluate(a), matrix::evaluate(b)) {
            return x.len() == y.len() && x.iter().zip(&y).all(|(r, s)| self.all(r, s));
        }
        self.sets(a, b) || self.structure(a, b)
    }

    fn scalars(&mut self, a: &Expr, b: &Expr) -> bool {
        // `scalar` treats variables as real. Under Re and Im they are complex.
        if has_complex_variable(a) || has_complex_variable(b) {
            return self.structure(a, b);
        }
        match scalar::equal(a, b, &mut self.work) {
            Equality::Equal => true,
            Equality::Different | Equality::Undecided => self.rounded(a, b) || self.rounded(b, a),
        }
    }

    /// The tolerance: a decimal with at least six significant digits equals the irrational number from which it is
    /// rounded, if all its digits are right.
    fn rounded(&mut self, decimal: &Expr, exact: &Expr) -> bool {
        let Some((literal, shift)) = written_decimal(decimal) else { return false };
        let digits = (&literal.value * BigRational::from_integer(BigInt::from(10).pow(literal.decimals))).to_integer();
        let significant = digits.abs().to_string().len();
        if literal.recurring > 0 || literal.value.is_integer() || digits.is_zero() || significant < MIN_DIGITS {
            return false;
        }
        if !scalar::is_constant(exact)
            || written_decimal(exact).is_some()
            || scalar::exact(exact, &mut self.work).is_some()
        {
            return false;
        }
        let half = BigRational::new(1.into(), BigInt::from(2) * BigInt::from(10).pow(literal.decimals));
        let number = |value: BigRational| {
            let over = |n: BigInt| Box::new(Expr::Number(Literal::integer(n)));
            Expr::Div(over(value.numer().clone()), over(value.denom().clone()))
        };
        let half = Expr::Mul(vec![number(half), shift]);
        let difference = Expr::Add(vec![exact.clone(), Expr::Neg(Box::new(decimal.clone()))]);
        let below = scalar::compare(&difference, &half, &mut self.work);
        let above = scalar::compare(&difference, &Expr::Neg(Box::new(half)), &mut self.work);
        matches!(below, Some(Ordering::Less | Ordering::Equal))
            && matches!(above, Some(Ordering::Greater | Ordering::Equal))
    }

    /// Compares node by node.
    fn structure(&mut self, a: &Expr, b: &Expr) -> bool {
        if std::mem::discriminant(a) != std::mem::discriminant(b) {
            return false;
        }
        match (a, b) {
            (Expr::Add(x), Expr::Add(y))
            | (Expr::Mul(x), Expr::Mul(y))
            | (Expr::Sequence(x), Expr::Sequence(y))
            | (Expr::Intersection(x), Expr::Intersection(y))
            | (Expr::Ratio(x), Expr::Ratio(y)) => self.all(x, y),
            (Expr::Union(x), Expr::Union(y)) => self.unordered(x, y),
            (Expr::Call(f, x), Expr::Call(g, y)) => f == g && self.all(x, y),
            (Expr::Apply(f, x), Expr::Apply(g, y)) => f == g && self.all(x, y),
            (Expr::Logic(f, x), Expr::Logic(g, y)) => f == g && self.all(x, y),
            (Expr::Neg(x), Expr::Neg(y)) | (Expr::Percent(x), Expr::Percent(y)) => self.same(x, y),
            (Expr::Div(x, y), Expr::Div(z, w))
            | (Expr::Pow(x, y), Expr::Pow(z, w))
            | (Expr::Root(x, y), Expr::Root(z, w))
            | (Expr::Difference(x, y), Expr::Difference(z, w))
            | (Expr::Where(x, y), Expr::Where(z, w)) => self.same(x, z) && self.same(y, w),
            (Expr::Sum(x), Expr::Sum(y)) | (Expr::Product(x), Expr::Product(y)) => {
                x.variable == y.variable
                    && self.same(&x.from, &y.from)
                    && self.same(&x.to, &y.to)
                    && self.same(&x.term, &y.term)
            }
            _ => false,
        }
    }

    /// Compares as sets of real numbers. If both name the unknown, the names must agree.
    fn sets(&mut self, a: &Expr, b: &Expr) -> bool {
        if let (Some(x), Some(y)) = (unknown(a), unknown(b))
            && x != y
        {
            return false;
        }
        let Some(x) = RealSet::of(a, &mut self.work) else { return false };
        let Some(y) = RealSet::of(b, &mut self.work) else { return false };
        x.equals(&y, &mut self.work) == Some(true)
    }

    /// Compares residues: 3 and 8 modulo 5.
    fn residues(&mut self, xs: &[Expr], ys: &[Expr]) -> bool {
        let ([x, n], [y, m]) = (xs, ys) else { return false };
        if !self.same(n, m) || ![x, y, n].into_iter().all(is_scalar) {
            return false;
        }
        let difference = Expr::Add(vec![x.clone(), Expr::Neg(Box::new(y.clone()))]);
        let remainder = Expr::Call(Function::Mod, vec![difference, n.clone()]);
        self.scalars(x, y) || self.scalars(&remainder, &Expr::Number(Literal::integer(0)))
    }
}

/// Returns true if the expression may be a set of real numbers; a tuple may be an interval.
fn may_be_set(e: &Expr) -> bool {
    matches!(e, Expr::Tuple(..) | Expr::Union(_) | Expr::Intersection(_) | Expr::Difference(..) | Expr::Where(..))
}
