//! π, ln 2, exp, ln, sin, cos and atan of real balls.
//!
//! exp and sin/cos are fixed-point Taylor series after argument reduction, with guard bits for rounding errors. ln and
//! atan invert them: a short series in the small difference ln(x/e^y) or atan(x) − y corrects any approximation y, and
//! the radius includes its remainder. A bad approximation therefore costs precision but never rigour.

use std::cmp::Ordering;
use std::sync::OnceLock;

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::ball::Ball;
use super::magnitude::Mag;
use super::work::Failure;

/// Maximum exponent of two in a result or an argument of exp.
pub(super) const MAX_EXPONENT: i64 = 1 << 20;
/// Arguments of sin and cos are below two to this power.
const MAX_ANGLE: i64 = 2048;
/// Bits of the constants at each level. The last level is enough for every precision up to `domain::MAX_PRECISION`.
const LEVELS: [i64; 3] = [1 << 10, 1 << 12, 3 << 12];

/// x·2^w. The series `sum` gives x·2^(bits) with an error of at most 2^16 at each level.
fn constant(cache: &[OnceLock<BigInt>; 3], w: i64, series: fn(i64) -> BigInt) -> Result<BigInt, Failure> {
    let level = LEVELS.iter().position(|&bits| bits >= w).ok_or(Failure::Limit)?;
    let value = cache[level].get_or_init(|| series(LEVELS[level] + 32) >> 32);
    Ok(value >> (LEVELS[level] - w))
}

/// ⌊π·2^w⌋, with an error of at most one unit.
pub(super) fn pi_fixed(w: i64) -> Result<BigInt, Failure> {
    static CACHE: [OnceLock<BigInt>; 3] = [const { OnceLock::new() }; 3];
    constant(&CACHE, w, |w| (inverse_series(5, w, true) * 4 - inverse_series(239, w, true)) << 2)
}

/// ⌊ln 2·2^w⌋, with an error of at most one unit.
fn ln2_fixed(w: i64) -> Result<BigInt, Failure> {
    static CACHE: [OnceLock<BigInt>; 3] = [const { OnceLock::new() }; 3];
    constant(&CACHE, w, |w| {
        inverse_series(26, w, false) * 18 - inverse_series(4801, w, false) * 2 + inverse_series(8749, w, false) * 8
    })
}

/// arctan(1/n)·2^w, or artanh(1/n)·2^w if the signs do not alternate. Each term is truncated once.
fn inverse_series(n: u64, w: i64, alternating: bool) -> BigInt {
    let mut power = (BigInt::one() << w) / n;
    let mut sum = power.clone();
    let mut k = 1u64;
    while !power.is_zero() {
        power /= n * n;
        let term = &power / (2 * k + 1);
        if alternating && k % 2 == 1 {
            sum -= term
        } else {
            sum += term
        }
        k += 1;
    }
    sum
}

/// π
pub(super) fn pi(p: i64) -> Result<Ball, Failure> {
    let w = p + 8;
    Ok(Ball::fixed_point(pi_fixed(w)?, w, Mag::power(1 - w), p))
}

/// e^x
pub(super) fn exp(x: &Ball, p: i64) -> Result<Ball, Failure> {
    if x.is_zero() {
        return Ok(Ball::one());
    }
    if x.top() > 20 {
        return Err(Failure::Limit);
    }
    if x.rad().log2() > -1 {
        return Err(Failure::Unclear);
    }
    let k = p.unsigned_abs().isqrt() as i64 * 3 / 4;
    let w = p + k + 40;
    let ln2 = ln2_fixed(w)?;
    let (n, r) = x.to_fixed(w).div_mod_floor(&ln2);
    let n = n.to_i64().ok_or(Failure::Limit)?;
    let r = r >> k;
    let mut term = BigInt::one() << w;
    let mut sum = term.clone();
    for j in 1u32.. {
        term = (term * &r) >> w;
        term /= j;
        if term.is_zero() {
            break;
        }
        sum += &term;
    }
    for _ in 0..k {
        sum = (&sum * &sum) >> w;
    }
    // The error of the series is below 2^10 units. Each squaring doubles the relative error. The error of r is at most
    // |n| + 2 ≤ 2^21 units. Together: below 2^(k+11) + 2^22 units of 2^(−p−k−40).
    let size = Ball::fixed_point(sum, w, Mag::ZERO, p + 8).shift(n);
    let upper = size.upper().shift(1);
    // |e^(x+r) − e^x| ≤ 2 r e^x for r ≤ 1.
    let error = upper.shift(-(p + 8)).add(upper.mul(x.rad()).shift(1));
    Ok(size.widen(error))
}

/// sin x and cos x
pub(super) fn sin_cos(x: &Ball, p: i64) -> Result<(Ball, Ball), Failure> {
    if x.is_zero() {
        return Ok((Ball::zero(), Ball::one()));
    }
    if x.top() > MAX_ANGLE {
        return Err(Failure::Limit);
    }
    // A small sine needs more fractional bits.
    let p = p + x.top().saturating_neg().clamp(0, 512);
    let k = p.unsigned_abs().isqrt() as i64 / 2 + 1;
    let w = p + x.top().max(0) + 2 * k + 40;
    let half_pi = pi_fixed(w + 1)? >> 2;
    let fixed = x.to_fixed(w);
    let n: BigInt = Integer::div_floor(&((&fixed << 1) + &half_pi), &(&half_pi << 1));
    let r: BigInt = fixed - &n * &half_pi;
    let negative = r.is_negative();
    let r = r.abs() >> k;
    let one = BigInt::one() << w;
    let (mut term, mut sin, mut cos) = (one.clone(), BigInt::zero(), one.clone());
    for j in 1u32.. {
        term = (term * &r) >> w;
        term /= j;
        if term.is_zero() {
            break;
        }
        match j % 4 {
            1 => sin += &term,
            2 => cos -= &term,
            3 => sin -= &term,
            _ => cos += &term,
        }
    }
    for _ in 0..k {
        let doubled = (&sin * &cos) >> (w - 1);
        cos = &one - ((&sin * &sin) >> (w - 1));
        sin = doubled;
    }
    if negative {
        sin = -sin;
    }
    // Each doubling multiplies the absolute error by at most four. The error of the series is below 2^10 units, that of
    // the reduction at most |n| + 2 units.
    let error = Mag::power(-(p + 20)).add(x.rad());
    let ball = |v: BigInt| Ball::fixed_point(v, w, error, p + 20);
    let quadrant = n.mod_floor(&BigInt::from(4)).to_u32().unwrap_or(0);
    let (sin, cos) = match quadrant {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    };
    Ok((ball(sin), ball(cos)))
}

/// ln x for a positive ball.
pub(super) fn ln(x: &Ball, p: i64) -> Result<Ball, Failure> {
    match x.sign() {
        Some(Ordering::Greater) => {}
        Some(Ordering::Equal) => return Err(Failure::Undefined),
        _ => return Err(Failure::Singular),
    }
    let twos = x.top();
    let scaled = x.shift(-twos);
    let w = p + 16;
    let mut result = ln_scaled(&scaled, p + 8)?;
    if twos != 0 {
        let ln2 = Ball::fixed_point(ln2_fixed(w)?, w, Mag::power(1 - w), w);
        result = result.add(&ln2.mul(&Ball::integer(twos), p + 40), p + 8);
    }
    Ok(Ball::new_rounded(&result, p))
}

/// ln x for x near [1/2, 1).
fn ln_scaled(x: &Ball, p: i64) -> Result<Ball, Failure> {
    let guess = if p <= 180 { Ball::from_f64(x.to_f64().ln()) } else { ln_scaled(&x.mid(), p / 4 + 12)?.mid() };
    let ratio = x.div(&exp(&guess, p + 4)?, p + 4)?;
    let d = ratio.sub(&Ball::one(), p + 4);
    if d.upper().log2() > -3 {
        return Err(Failure::Unclear);
    }
    // ln(1+d) = d − d²/2 + d³/3 ± d⁴ for |d| ≤ 1/8
    let d2 = d.square(p);
    let d3 = d2.mul(&d, p).div(&Ball::integer(3), p)?;
    let d4 = d2.upper().mul(d2.upper());
    Ok(guess.add(&d, p + 4).sub(&d2.shift(-1), p + 4).add(&d3, p + 4).widen(d4))
}

/// arctan x
pub(super) fn atan(x: &Ball, p: i64) -> Result<Ball, Failure> {
    if x.is_zero() {
        return Ok(Ball::zero());
    }
    if x.mid().abs().sub(&Ball::one(), 64).is_positive() && !x.contains_zero() {
        // arctan x = ±π/2 − arctan(1/x)
        let half = pi(p + 4)?.shift(-1);
        let half = if x.is_negative() { half.neg() } else { half };
        let inverse = Ball::one().div(x, p + 4)?;
        return Ok(half.sub(&atan_small(&inverse, p + 4)?, p));
    }
    atan_small(x, p)
}

/// arctan x for |mid| ≤ 1.
fn atan_small(x: &Ball, p: i64) -> Result<Ball, Failure> {
    if x.mid().is_zero() {
        return Ok(Ball::around_zero(x.rad()));
    }
    // A small result needs more fractional bits.
    atan_near(x, p + x.top().saturating_neg().clamp(0, 512))
}

fn atan_near(x: &Ball, p: i64) -> Result<Ball, Failure> {
    let guess = if p <= 270 { Ball::from_f64(x.to_f64().atan()) } else { atan_near(&x.mid(), p / 6 + 12)?.mid() };
    let (sin, cos) = sin_cos(&guess, p + 4)?;
    // tan(arctan x − y) = (x cos y − sin y) / (cos y + x sin y)
    let mid = x.mid();
    let d = mid.mul(&cos, p + 4).sub(&sin, p + 4).div(&cos.add(&mid.mul(&sin, p + 4), p + 4), p + 4)?;
    if d.upper().log2() > -3 {
        return Err(Failure::Unclear);
    }
    let d2 = d.square(p);
    let d3 = d2.mul(&d, p);
    let d5 = d3.mul(&d2, p);
    let d7 = d5.upper().mul(d2.upper());
    let third = d3.div(&Ball::integer(3), p)?;
    let fifth = d5.div(&Ball::integer(5), p)?;
    // |arctan x − arctan y| ≤ |x − y|
    Ok(guess.add(&d, p + 4).sub(&third, p + 4).add(&fifth, p + 4).widen(d7).widen(x.rad()))
}
