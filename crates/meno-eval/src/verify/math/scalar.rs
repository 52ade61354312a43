//! Decides whether two scalar expressions are equal: numbers of any size, radicals, logarithms, trigonometry, complex
//! numbers, and identities in variables.
//!
//! Both sides become one graph in a normal form (`arena`), in which equal subexpressions share a node. If the normal
//! form does not decide, ball arithmetic evaluates both sides with as much precision as needed.
//!
//! # What is proved
//! * *Different* is always a proof: two disjoint enclosures, at a point in the domain of at least one side, or two
//!   different residues of a rational function in one finite field.
//! * *Equal* is a proof for expressions with the same normal form: rational arithmetic, products and sums of radicals,
//!   logarithms of rationals, powers of e, special angles. It is also a proof for algebraic constants (radicals, i,
//!   roots of unity, sines and cosines of rational multiples of π) whose difference is smaller than the root bound of
//!   Burnikel et al. (`bound`).
//!
//! # What relies on a rule
//! * Other constants count as equal if they agree to 512 bits, plus 4 bits for each bit of a number in the expressions
//!   and for each power of two in the size of an intermediate value. No counterexample is known; a proof would need
//!   Schanuel's conjecture.
//! * Rational functions in variables count as equal if they agree in finite fields at random points. The error
//!   probability is below 2^−80 (`field`).
//! * Other expressions in variables count as equal if they agree to 200 bits, plus heights as above, at eight points or
//!   more and differ at none (`points`). Variables in factorials, binomials, gcd, lcm, mod, bounds of sums and
//!   exponents of negative numbers are taken as positive integers.
//!
//! 0^0 is undefined. Everything else is undecided: too large, too deep, unknown operations, or budget exhausted.

mod arena;
mod ball;
mod bound;
mod calls;
mod complex;
mod decide;
mod domain;
mod elementary;
mod equality;
mod evaluate;
mod field;
mod functions;
mod jumps;
mod lower;
mod magnitude;
mod negative_bases;
mod pair;
mod points;
mod print;
mod proportion;
mod rational;
mod substitute;
mod work;

use std::cmp::Ordering;
use std::collections::BTreeSet;

use num_rational::BigRational;

use super::tree::{Constant, Expr, Series};
use arena::{Arena, Id};
pub use equality::{Equality, Proportion};
use work::Failure;
pub use work::Work;

/// Decides whether `a` and `b` are the same number, or the same function of their variables.
pub fn equal(a: &Expr, b: &Expr, work: &mut Work) -> Equality {
    match (infinity(a), infinity(b)) {
        (Some(x), Some(y)) => return if x == y { Equality::Equal } else { Equality::Different },
        (None, None) => {}
        (Some(_), None) => return compare_with_infinity(b, work),
        (None, Some(_)) => return compare_with_infinity(a, work),
    }
    let mut arena = Arena::default();
    match lower_pair(&mut arena, a, b, work) {
        Ok((x, y)) => decide::same(&mut arena, x, y, work),
        Err(_) if a == b => Equality::Equal,
        Err(_) => Equality::Undecided,
    }
}

/// The exact value of an expression whose normal form is a rational number.
pub fn exact(e: &Expr, work: &mut Work) -> Option<BigRational> {
    let mut arena = Arena::default();
    let id = lower::lower(&mut arena, e, work).ok()?;
    arena.rational_value(id).cloned()
}

/// The order of two real constants.
pub fn compare(a: &Expr, b: &Expr, work: &mut Work) -> Option<Ordering> {
    match (infinity(a), infinity(b)) {
        (Some(x), Some(y)) => return Some(x.cmp(&y)),
        (None, None) => {}
        (Some(positive), None) => {
            let order = if positive { Ordering::Greater } else { Ordering::Less };
            return real_constant(b, work).then_some(order);
        }
        (None, Some(_)) => return compare(b, a, work).map(Ordering::reverse),
    }
    let mut arena = Arena::default();
    let (x, y) = lower_pair(&mut arena, a, b, work).ok()?;
    let difference = arena.sub(x, y, work).ok()?;
    if !decide::is_defined(&mut arena, x, work).ok()? || !decide::is_defined(&mut arena, y, work).ok()? {
        return None;
    }
    decide::sign(&mut arena, difference, work).ok()?
}

/// Decides whether `a` = c·`b` for a constant c ≠ 0, and the sign of c.
pub fn proportional(a: &Expr, b: &Expr, work: &mut Work) -> Proportion {
    let mut arena = Arena::default();
    lower_pair(&mut arena, a, b, work)
        .and_then(|(x, y)| proportion::proportion(&mut arena, x, y, work))
        .unwrap_or(Proportion::Undecided)
}

/// A real constant, correctly rounded to `digits` significant digits.
pub fn decimal(e: &Expr, digits: u32, work: &mut Work) -> Option<String> {
    let mut arena = Arena::default();
    let id = lower::lower(&mut arena, e, work).ok()?;
    print::decimal(&mut arena, id, digits, work).ok()?
}

/// True if an expression has a value; 1/0 and ln 0 do not. An expression in variables needs a value at some point. What
/// cannot be evaluated counts as defined.
pub fn defined(e: &Expr, work: &mut Work) -> bool {
    if infinity(e).is_some() {
        return true;
    }
    let mut arena = Arena::default();
    match lower::lower(&mut arena, e, work) {
        Ok(id) => decide::is_defined(&mut arena, id, work) != Ok(false),
        Err(failure) => failure != Failure::Undefined,
    }
}

/// True if an expression is within the limits of evaluation.
pub fn is_computable(e: &Expr, work: &mut Work) -> bool {
    infinity(e).is_some() || lower::lower(&mut Arena::default(), e, work) != Err(Failure::Limit)
}

/// True if an expression has no free variables.
pub fn is_constant(e: &Expr) -> bool {
    variables(e).is_empty()
}

/// The free variables and unknown functions of an expression, in alphabetical order.
pub fn variables(e: &Expr) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(e, &mut Vec::new(), &mut found, 0);
    found
}

fn lower_pair(arena: &mut Arena, a: &Expr, b: &Expr, work: &mut Work) -> Result<(Id, Id), Failure> {
    Ok((lower::lower(arena, a, work)?, lower::lower(arena, b, work)?))
}

/// `Some(true)` for ∞, `Some(false)` for −∞.
fn infinity(e: &Expr) -> Option<bool> {
    match e {
        Expr::Constant(Constant::Infinity) => Some(true),
        Expr::Neg(x) => infinity(x).map(|positive| !positive),
        _ => None,
    }
}

/// Compares ∞ with an expression: it differs from every finite constant.
fn compare_with_infinity(e: &Expr, work: &mut Work) -> Equality {
    if real_constant(e, work) { Equality::Different } else { Equality::Undecided }
}

fn real_constant(e: &Expr, work: &mut Work) -> bool {
    let mut arena = Arena::default();
    let mut check = || -> Result<bool, Failure> {
        let id = lower::lower(&mut arena, e, work)?;
        Ok(arena.atoms.is_empty()
            && decide::is_defined(&mut arena, id, work)?
            && (arena.is_real(id) || decide::is_real(&mut arena, id, work)?))
    };
    check().unwrap_or(false)
}

fn collect(e: &Expr, bound: &mut Vec<String>, found: &mut BTreeSet<String>, depth: usize) {
    // Deeper expressions are undecided anyway.
    if depth > 1000 {
        return;
    }
    if let Expr::Symbol(name) = e
        && !bound.contains(name)
    {
        found.insert(name.clone());
    }
    let mut all = |es: &[Expr]| es.iter().for_each(|e| collect(e, bound, found, depth + 1));
    match e {
        Expr::Add(es) | Expr::Mul(es) | Expr::Call(_, es) | Expr::Sequence(es) => all(es),
        Expr::Apply(name, es) => {
            all(es);
            found.insert(name.clone());
        }
        Expr::Opaque(name) => {
            found.insert(name.clone());
        }
        Expr::Neg(x) | Expr::PlusMinus(x) | Expr::MinusPlus(x) | Expr::Percent(x) | Expr::Degrees(x) => {
            collect(x, bound, found, depth + 1);
        }
        Expr::Div(a, b) | Expr::Pow(a, b) | Expr::Root(a, b) | Expr::Mixed(a, b) => {
            collect(a, bound, found, depth + 1);
            collect(b, bound, found, depth + 1);
        }
        Expr::Matrix(rows) => rows.iter().for_each(|row| all(row)),
        Expr::Sum(series) | Expr::Product(series) => {
            let Series { variable, from, to, term } = &**series;
            collect(from, bound, found, depth + 1);
            collect(to, bound, found, depth + 1);
            bound.push(variable.clone());
            collect(term, bound, found, depth + 1);
            bound.pop();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
