//! Prints real constants as decimals.

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{Pow, Signed, Zero};

use super::super::tree::Function;
use super::arena::{Arena, Id, Op};
use super::decide;
use super::domain::MAX_PRECISION;
use super::evaluate::{Context, Evaluation, EvaluationOrder};
use super::work::{Failure, Work};

/// Maximum decimal exponent.
const MAX_DIGITS: i64 = 5000;

/// The number rounded to `digits` significant digits, half away from zero.
pub(super) fn decimal(arena: &mut Arena, id: Id, digits: u32, work: &mut Work) -> Result<Option<String>, Failure> {
    let digits = i64::from(digits.clamp(1, 1000));
    if let Some(r) = arena.rational_value(id).cloned() {
        work.multiply(super::rational::bits(&r) as i64 + 4 * digits, 20)?;
        return Ok(round(&r, digits).map(|rounded| write(&rounded)));
    }
    if !decide::is_defined(arena, id, work)? || !(arena.is_real(id) || decide::is_real(arena, id, work)?) {
        return Ok(None);
    }
    let plan = EvaluationOrder::new(arena, &[id], work)?;
    // A logarithm of unknown base has no decimal value.
    if plan.nodes().iter().any(|&id| matches!(arena.op(id), Op::Call(Function::Log, _))) {
        return Ok(None);
    }
    let mut p = 4 * digits + 64;
    while p <= MAX_PRECISION {
        let context = Context { point: &[], log10: false, p };
        let evaluation = Evaluation::run(arena, &plan, &context, work)?;
        if let Ok(value) = evaluation.value(id)
            && let Some((low, high)) = value.z.re.bounds()
        {
            work.multiply(super::rational::bits(&low) as i64, 40)?;
            if let (Some(low), Some(high)) = (round(&low, digits), round(&high, digits))
                && low == high
            {
                return Ok(Some(write(&low)));
            }
        }
        p *= 2;
    }
    Ok(None)
}

/// The digits, and the exponent of the last digit.
#[derive(PartialEq)]
struct Decimal {
    mantissa: BigInt,
    exponent: i64,
}

fn power_of_ten(k: i64) -> BigInt {
    Pow::pow(BigInt::from(10), k.unsigned_abs())
}

fn round(x: &BigRational, digits: i64) -> Option<Decimal> {
    if x.is_zero() {
        return Some(Decimal { mantissa: BigInt::zero(), exponent: 0 });
    }
    // The number of digits before the point, with an error of at most one.
    let bits = x.numer().bits() as i64 - x.denom().bits() as i64;
    let mut exponent = (bits as f64 * std::f64::consts::LOG10_2).floor() as i64 - digits - 1;
    if exponent.abs() > MAX_DIGITS {
        return None;
    }
    let limit = power_of_ten(digits);
    loop {
        let (n, d) = if exponent < 0 {
            (x.numer().abs() * power_of_ten(exponent), x.denom().clone())
        } else {
            (x.numer().abs(), x.denom() * power_of_ten(exponent))
        };
        let mantissa = ((n << 1u32) + &d).div_floor(&(d << 1u32));
        if mantissa < limit {
            let mantissa = if x.is_negative() { -mantissa } else { mantissa };
            return Some(Decimal { mantissa, exponent });
        }
        exponent += 1;
    }
}

fn write(x: &Decimal) -> String {
    let sign = if x.mantissa.is_negative() { "-" } else { "" };
    let mut digits = x.mantissa.magnitude().to_string();
    let mut exponent = x.exponent;
    while digits.len() > 1 && digits.ends_with('0') {
        digits.pop();
        exponent += 1;
    }
    let point = digits.len() as i64 + exponent;
    if x.mantissa.is_zero() {
        return "0".to_owned();
    }
    if exponent >= 0 && point <= 21 {
        return format!("{sign}{digits}{}", "0".repeat(exponent as usize));
    }
    if (-5..=21).contains(&point) {
        return if point > 0 {
            let (whole, fraction) = digits.split_at(point as usize);
            format!("{sign}{whole}.{fraction}")
        } else {
            format!("{sign}0.{}{digits}", "0".repeat(-point as usize))
        };
    }
    let (head, tail) = digits.split_at(1);
    let dot = if tail.is_empty() { "" } else { "." };
    format!("{sign}{head}{dot}{tail}e{}", point - 1)
}
