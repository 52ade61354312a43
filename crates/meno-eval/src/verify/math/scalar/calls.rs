//! Builds nodes for function calls: rewrites each function with the few that the normal form supports.

use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::super::tree::Function;
use super::arena::{Arena, Id, Op};
use super::complex::small_integer;
use super::rational::{self, integer, ratio};
use super::work::{Failure, Work};

/// `\binom{n}{k}` is a polynomial in n up to this k.
const MAX_BINOMIAL: u64 = 12;

/// Builds a call of a known function.
pub(super) fn apply_function(arena: &mut Arena, f: Function, ids: Vec<Id>, work: &mut Work) -> Result<Id, Failure> {
    match (f, ids.as_slice()) {
        (Function::LogBase, &[base, x]) => {
            let (x, base) = (arena.ln(Function::Ln, x, work)?, arena.ln(Function::Ln, base, work)?);
            arena.div(x, base, work)
        }
        (Function::Binomial, &[n, k]) => binomial(arena, n, k, work),
        (Function::Mod, &[_, _]) => compute_or_keep(arena, f, ids, work),
        (Function::Gcd | Function::Lcm | Function::Min | Function::Max, [_, ..]) => {
            compute_or_keep(arena, f, ids, work)
        }
        (_, &[x]) => unary(arena, f, x, work),
        _ => Err(Failure::Limit),
    }
}

/// Builds 1/0.
fn undefined(arena: &mut Arena, work: &mut Work) -> Result<Id, Failure> {
    let zero = arena.int(0, work)?;
    arena.inverse(zero, work)
}

fn half_pi_minus(arena: &mut Arena, x: Id, work: &mut Work) -> Result<Id, Failure> {
    let pi = arena.intern(Op::Pi, work)?;
    let half = arena.scale(&ratio(1, 2), pi, work)?;
    arena.sub(half, x, work)
}

fn unary(arena: &mut Arena, f: Function, x: Id, work: &mut Work) -> Result<Id, Failure> {
    use Function as F;
    match f {
        F::Sin => arena.sin(x, work),
        F::Cos => arena.cos(x, work),
        F::Tan | F::Cot => {
            let (sin, cos) = (arena.sin(x, work)?, arena.cos(x, work)?);
            if f == F::Tan { arena.div(sin, cos, work) } else { arena.div(cos, sin, work) }
        }
        F::Sec | F::Csc => {
            let value = if f == F::Sec { arena.cos(x, work)? } else { arena.sin(x, work)? };
            arena.inverse(value, work)
        }
        F::Arcsin | F::Arctan => inverse_trigonometric(arena, f, x, work),
        F::Arccos | F::Arccot => {
            let value = unary(arena, if f == F::Arccos { F::Arcsin } else { F::Arctan }, x, work)?;
            half_pi_minus(arena, value, work)
        }
        F::Arcsec | F::Arccsc => {
            let inverse = arena.inverse(x, work)?;
            unary(arena, if f == F::Arcsec { F::Arccos } else { F::Arcsin }, inverse, work)
        }
        F::Sinh | F::Cosh | F::Tanh | F::Coth | F::Sech | F::Csch => hyperbolic(arena, f, x, work),
        F::Exp => arena.exp(x, work),
        F::Ln | F::Log => arena.ln(f, x, work),
        F::Abs => absolute(arena, x, work),
        F::Ceil => {
            let negative = arena.scale(&integer(-1), x, work)?;
            let floor = compute_or_keep(arena, F::Floor, vec![negative], work)?;
            arena.scale(&integer(-1), floor, work)
        }
        F::Gamma => {
            let below = arena.int(-1, work)?;
            let x = arena.add(&[x, below], work)?;
            factorial(arena, x, work)
        }
        F::Factorial => factorial(arena, x, work),
        F::Arsinh | F::Arcosh | F::Artanh | F::Arg => arena.intern(Op::Call(f, vec![x]), work),
        F::Floor | F::DoubleFactorial | F::Sgn | F::Re | F::Im => compute_or_keep(arena, f, vec![x], work),
        _ => Err(Failure::Limit),
    }
}

fn inverse_trigonometric(arena: &mut Arena, f: Function, x: Id, work: &mut Work) -> Result<Id, Failure> {
    let special = arena.rational_value(x).and_then(|r| {
        let doubled = small_integer(&(r * integer(2)))?;
        match (f, doubled) {
            (_, 0) => Some(integer(0)),
            (Function::Arctan, 2 | -2) => Some(ratio(doubled, 8)),
            (Function::Arcsin, 1 | -1) => Some(ratio(doubled, 6)),
            (Function::Arcsin, 2 | -2) => Some(ratio(doubled, 4)),
            _ => None,
        }
    });
    match special {
        Some(r) => {
            let pi = arena.intern(Op::Pi, work)?;
            arena.scale(&r, pi, work)
        }
        None => arena.intern(Op::Call(f, vec![x]), work),
    }
}

fn hyperbolic(arena: &mut Arena, f: Function, x: Id, work: &mut Work) -> Result<Id, Failure> {
    let negative = arena.scale(&integer(-1), x, work)?;
    let (up, down) = (arena.exp(x, work)?, arena.exp(negative, work)?);
    let (minus, plus) = (arena.sub(up, down, work)?, arena.add(&[up, down], work)?);
    let two = arena.int(2, work)?;
    match f {
        Function::Sinh => arena.div(minus, two, work),
        Function::Cosh => arena.div(plus, two, work),
        Function::Tanh => arena.div(minus, plus, work),
        Function::Coth => arena.div(plus, minus, work),
        Function::Sech => arena.div(two, plus, work),
        _ => arena.div(two, minus, work),
    }
}

fn absolute(arena: &mut Arena, x: Id, work: &mut Work) -> Result<Id, Failure> {
    if arena.is_positive(x) {
        return Ok(x);
    }
    match arena.op(x).clone() {
        Op::Rational(r) => arena.rational(r.abs(), work),
        Op::Mul(c, factors) if !c.is_zero() && !c.is_one() => {
            let one = arena.int(1, work)?;
            let mut core = vec![one];
            core.extend(factors);
            let core = arena.mul(&core, work)?;
            let core = absolute(arena, core, work)?;
            arena.scale(&c.abs(), core, work)
        }
        _ => arena.intern(Op::Call(Function::Abs, vec![x]), work),
    }
}

fn factorial(arena: &mut Arena, x: Id, work: &mut Work) -> Result<Id, Failure> {
    let Some(r) = arena.rational_value(x).cloned() else {
        return arena.intern(Op::Call(Function::Factorial, vec![x]), work);
    };
    if r.denom().is_one() {
        if r.is_negative() {
            return undefined(arena, work);
        }
        let value = rational::factorial(r.to_integer().to_u64().ok_or(Failure::Limit)?, 1, work)?;
        return arena.rational(value, work);
    }
    // (k/2)! = (k/2)((k−2)/2)…(1/2) √π for odd k, and in the opposite direction for negative k.
    let k = small_integer(&(&r * integer(2))).filter(|k| k.is_odd() && k.abs() < 2000).ok_or(Failure::Limit)?;
    let mut value = BigRational::one();
    let mut j = k;
    while j > 0 {
        value = rational::mul(&value, &ratio(j, 2), work)?;
        j -= 2;
    }
    while j < -1 {
        value = rational::mul(&value, &ratio(2, j + 2), work)?;
        j += 2;
    }
    let pi = arena.intern(Op::Pi, work)?;
    let half = arena.rational(ratio(1, 2), work)?;
    let root = arena.pow(pi, half, work)?;
    arena.scale(&value, root, work)
}

fn binomial(arena: &mut Arena, n: Id, k: Id, work: &mut Work) -> Result<Id, Failure> {
    let literal = arena.rational_value(k).cloned();
    let Some(k_value) = literal.as_ref().filter(|k| k.denom().is_one()) else {
        return arena.intern(Op::Call(Function::Binomial, vec![n, k]), work);
    };
    if k_value.is_negative() {
        return arena.int(0, work);
    }
    if let Some(r) = arena.rational_value(n).cloned() {
        // For an integer n, a large k equals a small n − k.
        let k = k_value.to_integer().to_u64().ok_or(Failure::Limit)?;
        let value = rational::binomial(&r, k, work)?;
        return arena.rational(value, work);
    }
    match k_value.to_integer().to_u64() {
        Some(k) if k <= MAX_BINOMIAL => {
            let mut factors = vec![arena.int(1, work)?];
            for j in 0..k {
                let minus = arena.int(-(j as i64), work)?;
                let factor = arena.add(&[n, minus], work)?;
                factors.push(arena.scale(&ratio(1, j as i64 + 1), factor, work)?);
            }
            arena.mul(&factors, work)
        }
        _ => arena.intern(Op::Call(Function::Binomial, vec![n, k]), work),
    }
}

/// Computes a function with rational arguments; otherwise keeps the call.
fn compute_or_keep(arena: &mut Arena, f: Function, mut ids: Vec<Id>, work: &mut Work) -> Result<Id, Failure> {
    let values: Option<Vec<BigRational>> = ids.iter().map(|&id| arena.rational_value(id).cloned()).collect();
    if let Some(values) = values {
        let value = match fold(f, &values, work) {
            Err(Failure::Undefined) => return undefined(arena, work),
            value => value?,
        };
        return arena.rational(value, work);
    }
    // ⌊x + 5/2⌋ is ⌊x + 1/2⌋ + 2.
    if f == Function::Floor
        && let Op::Add(c, terms) = arena.op(ids[0]).clone()
        && !c.floor().is_zero()
    {
        let mut terms = terms;
        terms.push(arena.rational(&c - c.floor(), work)?);
        let inside = arena.add(&terms, work)?;
        let floor = compute_or_keep(arena, f, vec![inside], work)?;
        let whole = arena.rational(c.floor(), work)?;
        return arena.add(&[floor, whole], work);
    }
    if matches!(f, Function::Gcd | Function::Lcm | Function::Min | Function::Max) {
        ids.sort_unstable();
        ids.dedup();
        if ids.len() == 1 && matches!(f, Function::Min | Function::Max) {
            return Ok(ids[0]);
        }
    }
    arena.intern(Op::Call(f, ids), work)
}

fn fold(f: Function, values: &[BigRational], work: &mut Work) -> Result<BigRational, Failure> {
    let first = values.first().ok_or(Failure::Limit)?;
    work.spend(values.iter().map(|v| rational::bits(v) + 50).sum())?;
    Ok(match f {
        Function::Floor => {
            work.multiply(rational::bits(first) as i64, 4)?;
            first.floor()
        }
        Function::DoubleFactorial => {
            let n = small_integer(first).ok_or(Failure::Undefined)?;
            match n {
                -1 | 0 => BigRational::one(),
                1.. => rational::factorial(n as u64, 2, work)?,
                _ => return Err(Failure::Undefined),
            }
        }
        Function::Sgn => first.signum(),
        Function::Re => first.clone(),
        Function::Im => BigRational::zero(),
        Function::Gcd | Function::Lcm => rational::gcd_lcm(values, f == Function::Lcm, work)?,
        Function::Mod => rational::modulo(first, &values[1], work)?,
        Function::Min => values.iter().min_by(|a, b| rational::order(a, b)).unwrap_or(first).clone(),
        Function::Max => values.iter().max_by(|a, b| rational::order(a, b)).unwrap_or(first).clone(),
        _ => return Err(Failure::Limit),
    })
}
