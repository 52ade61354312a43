//! The root bound of Burnikel, Fleischer, Mehlhorn and Schirra: how close to zero a nonzero algebraic number can be.
//!
//! An algebraic expression E is a quotient U/L of algebraic integers. With u and l bounds of all conjugates of U and
//! L, and D the degree of a field that holds U, |E| ≥ u^(1−D) / l unless E = 0. (A strong and easily computable
//! separation bound for arithmetic expressions involving radicals, Algorithmica 27, 2000.) Cosines of rational
//! multiples of π and the imaginary unit are in a cyclotomic field.

use std::collections::HashMap;

use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::super::tree::Function;
use super::arena::{Arena, Id, Op};
use super::complex::{small_integer, small_ratio};

/// log2 of the bounds of numerator and denominator, rounded up generously.
#[derive(Clone, Copy)]
struct Size {
    u: f64,
    l: f64,
}

/// Bits b with |E| ≥ 2^−b for the value E of `root` unless it is zero; `None` if the expression is not algebraic.
/// `nodes` are all nodes below the root, children first.
pub(super) fn separation(arena: &Arena, root: Id, nodes: &[Id]) -> Option<f64> {
    let mut sizes: HashMap<Id, Size> = HashMap::new();
    for &id in nodes {
        // Not every number that occurs as an exponent or an angle is part of the algebraic expression.
        if let Some(size) = size(arena, id, &sizes) {
            sizes.insert(id, size);
        }
    }
    let root_size = sizes.get(&root)?;
    let degree = degree(arena, nodes)?;
    // The last summands cover the rounding of the logarithms.
    let bits = (degree - 1.0) * root_size.u + root_size.l;
    Some(bits * (1.0 + 1e-9) + 4.0)
}

fn log2(n: u64) -> f64 {
    n as f64
}

fn size(arena: &Arena, id: Id, sizes: &HashMap<Id, Size>) -> Option<Size> {
    let get = |id: &Id| sizes.get(id).copied();
    let rational = |r: &BigRational| Size {
        u: log2(r.numer().bits()),
        l: if r.denom().is_one() { 0.0 } else { log2(r.denom().bits()) },
    };
    match arena.op(id) {
        Op::Rational(r) => Some(rational(r)),
        Op::I => Some(Size { u: 0.0, l: 0.0 }),
        Op::Add(c, ids) => {
            let mut sum = rational(c);
            for id in ids {
                let term = get(id)?;
                sum = Size { u: (sum.u + term.l).max(term.u + sum.l) + 1.0, l: sum.l + term.l };
            }
            Some(sum)
        }
        Op::Mul(c, ids) => {
            let mut product = rational(c);
            for id in ids {
                let factor = get(id)?;
                product = Size { u: product.u + factor.u, l: product.l + factor.l };
            }
            Some(product)
        }
        Op::Pow(base, exponent) => {
            let (n, k) = small_ratio(arena.rational_value(*exponent)?)?;
            let (base, k) = (get(base)?, f64::from(k));
            let root = if base.u >= base.l {
                Size { u: (base.u + (k - 1.0) * base.l) / k, l: base.l }
            } else {
                Size { u: base.u, l: ((k - 1.0) * base.u + base.l) / k }
            };
            let times = n.unsigned_abs() as f64;
            let power = Size { u: root.u * times, l: root.l * times };
            Some(if n < 0 { Size { u: power.l, l: power.u } } else { power })
        }
        Op::Call(Function::Cos, args) => {
            arena.pi_multiple(args[0])?;
            Some(Size { u: 1.0, l: 1.0 })
        }
        Op::Call(Function::Abs, args) if arena.is_real(args[0]) => get(&args[0]),
        Op::Det(n, ids) => {
            let mut size = Size { u: (*n * *n) as f64, l: 0.0 };
            for id in ids {
                let entry = get(id)?;
                size.u += entry.u.max(entry.l);
                size.l += entry.l;
            }
            Some(size)
        }
        _ => None,
    }
}

/// A bound of the degree of the field that all radicals, cosines and i generate.
fn degree(arena: &Arena, nodes: &[Id]) -> Option<f64> {
    let mut degree = 1.0;
    // Real roots of one positive number are powers of a single root.
    let mut radicals: HashMap<Id, u64> = HashMap::new();
    let mut angle = 1u64;
    for &id in nodes {
        match arena.op(id) {
            Op::I => angle = angle.lcm(&4),
            Op::Pow(base, exponent) => {
                let Some((_, k)) = arena.rational_value(*exponent).and_then(small_ratio) else { continue };
                if arena.is_positive(*base) {
                    let root = radicals.entry(*base).or_insert(1);
                    *root = checked_lcm(*root, k.into())?;
                } else {
                    degree *= f64::from(k);
                }
            }
            Op::Call(Function::Cos, args) => {
                let Some(r) = arena.pi_multiple(args[0]) else { continue };
                angle = checked_lcm(angle, r.denom().to_u64()?.checked_mul(2)?)?;
            }
            _ => {}
        }
    }
    for root in radicals.values() {
        degree *= *root as f64;
    }
    Some(degree * totient(angle) as f64)
}

fn checked_lcm(a: u64, b: u64) -> Option<u64> {
    (a / a.gcd(&b)).checked_mul(b).filter(|&n| n <= 1 << 32)
}

/// Euler's function.
fn totient(n: u64) -> u64 {
    let (mut rest, mut value) = (n, n);
    let mut d = 2;
    while d * d <= rest {
        if rest % d == 0 {
            while rest % d == 0 {
                rest /= d;
            }
            value -= value / d;
        }
        d += 1;
    }
    if rest > 1 { value - value / rest } else { value }
}

/// Bits that the rule for everything else adds for the constants of an expression: four for each bit of a numerator or
/// a denominator.
pub(super) fn height(arena: &Arena, nodes: &[Id]) -> i64 {
    let bits = |r: &BigRational| if r.is_zero() || r.abs().is_one() { 0 } else { super::rational::bits(r) as i64 };
    let mut sum = 0;
    for &id in nodes {
        sum += match arena.op(id) {
            Op::Rational(r) | Op::Add(r, _) | Op::Mul(r, _) => bits(r),
            Op::Pow(_, e) => arena
                .rational_value(*e)
                .and_then(small_integer)
                .map_or(0, |n| 64 - i64::from(n.unsigned_abs().leading_zeros())),
            _ => 0,
        };
    }
    4 * sum
}
