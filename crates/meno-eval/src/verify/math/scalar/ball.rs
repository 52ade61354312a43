//! Real ball arithmetic: a midpoint of arbitrary precision and a rigorous error bound.
//!
//! Each operation takes the precision `p` in bits. The result encloses the exact results for all reals in the operands.
//! The radius includes the rounding error of the midpoint.

use std::cmp::Ordering;

use num_bigint::{BigInt, Sign};
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::magnitude::Mag;
use super::work::Failure;

/// A real interval: all x with |x − mid·2^exp| ≤ rad.
#[derive(Clone, Debug)]
pub(super) struct Ball {
    mid: BigInt,
    exp: i64,
    rad: Mag,
}

impl Ball {
    /// Rounds a midpoint to `p` bits and drops bits far below the radius.
    pub(super) fn new(mid: BigInt, exp: i64, rad: Mag, p: i64) -> Ball {
        let mut shift = mid.bits() as i64 - p;
        if !rad.is_zero() {
            shift = shift.max(rad.e - 2 - exp);
        }
        if mid.is_zero() {
            return Ball { mid, exp: 0, rad };
        }
        if shift <= 0 {
            return Ball { mid, exp, rad };
        }
        let exact = mid.trailing_zeros().unwrap_or(0) as i64 >= shift;
        // A shift beyond the length of the midpoint leaves only its sign.
        let shifted = mid.clone() >> shift.min(mid.bits() as i64 + 1);
        let rad = if exact { rad } else { rad.add(Mag::power(exp + shift)) };
        let exp = if shifted.is_zero() { 0 } else { exp + shift };
        Ball { mid: shifted, exp, rad }
    }

    pub(super) fn zero() -> Ball {
        Ball { mid: BigInt::zero(), exp: 0, rad: Mag::ZERO }
    }

    pub(super) fn integer(x: impl Into<BigInt>) -> Ball {
        Ball { mid: x.into(), exp: 0, rad: Mag::ZERO }
    }

    pub(super) fn one() -> Ball {
        Ball::integer(1)
    }

    /// A ball that contains the rational `x`.
    pub(super) fn rational(x: &BigRational, p: i64) -> Ball {
        if x.denom().is_one() {
            return Ball::new(x.numer().clone(), 0, Mag::ZERO, p);
        }
        let twos = x.denom().trailing_zeros().unwrap_or(0);
        if x.denom().bits() == twos + 1 {
            return Ball::new(x.numer().clone(), -(twos as i64), Mag::ZERO, p);
        }
        let shift = (p + 2 + x.denom().bits() as i64 - x.numer().bits() as i64).max(0);
        let mid = (x.numer() << shift) / x.denom();
        Ball::new(mid, -shift, Mag::power(-shift), p)
    }

    /// A ball from a fixed-point midpoint with `w` fractional bits, and its error.
    pub(super) fn fixed_point(mid: BigInt, w: i64, rad: Mag, p: i64) -> Ball {
        Ball::new(mid, -w, rad, p)
    }

    /// The same ball, with its midpoint rounded to `p` bits.
    pub(super) fn new_rounded(x: &Ball, p: i64) -> Ball {
        Ball::new(x.mid.clone(), x.exp, x.rad, p)
    }

    /// An exact ball; zero if `x` is not finite.
    pub(super) fn from_f64(x: f64) -> Ball {
        BigRational::from_float(x).map_or_else(Ball::zero, |r| Ball::rational(&r, 64))
    }

    /// 0 ± `rad`
    pub(super) fn around_zero(rad: Mag) -> Ball {
        Ball { mid: BigInt::zero(), exp: 0, rad }
    }

    pub(super) fn mid(&self) -> Ball {
        Ball { rad: Mag::ZERO, ..self.clone() }
    }

    pub(super) fn rad(&self) -> Mag {
        self.rad
    }

    /// Increases the radius by `error`.
    pub(super) fn widen(mut self, error: Mag) -> Ball {
        self.rad = self.rad.add(error);
        self
    }

    /// ⌊mid·2^w⌋
    pub(super) fn to_fixed(&self, w: i64) -> BigInt {
        let shift = self.exp + w;
        if shift >= 0 { &self.mid << shift } else { &self.mid >> (-shift).min(self.mid.bits() as i64 + 1) }
    }

    /// An e such that |mid| < 2^e; `i64::MIN` for zero.
    pub(super) fn top(&self) -> i64 {
        if self.mid.is_zero() { i64::MIN } else { self.exp + self.mid.bits() as i64 }
    }

    /// The approximate midpoint.
    pub(super) fn to_f64(&self) -> f64 {
        let bits = self.mid.bits() as i64;
        let shift = (bits - 62).max(0);
        let head = (&self.mid >> shift).to_f64().unwrap_or(0.0);
        head * 2f64.powi((self.exp + shift).clamp(-2000, 2000) as i32)
    }

    pub(super) fn is_exact(&self) -> bool {
        self.rad.is_zero()
    }

    /// True if exactly zero.
    pub(super) fn is_zero(&self) -> bool {
        self.mid.is_zero() && self.rad.is_zero()
    }

    /// An upper bound of |x|.
    pub(super) fn upper(&self) -> Mag {
        Mag::of(self.mid.magnitude(), self.exp, true).add(self.rad)
    }

    /// A lower bound of |x|.
    pub(super) fn lower(&self) -> Mag {
        Mag::of(self.mid.magnitude(), self.exp, false).sub_low(self.rad)
    }

    /// True if the ball may contain zero.
    pub(super) fn contains_zero(&self) -> bool {
        if self.rad.is_zero() { self.mid.is_zero() } else { self.lower().is_zero() }
    }

    /// The sign, if it is the same in the whole ball.
    pub(super) fn sign(&self) -> Option<Ordering> {
        if self.is_zero() {
            Some(Ordering::Equal)
        } else if self.contains_zero() {
            None
        } else {
            Some(if self.mid.sign() == Sign::Minus { Ordering::Less } else { Ordering::Greater })
        }
    }

    pub(super) fn is_positive(&self) -> bool {
        self.sign() == Some(Ordering::Greater)
    }

    pub(super) fn is_negative(&self) -> bool {
        self.sign() == Some(Ordering::Less)
    }

    /// The exact value, if it is an integer.
    pub(super) fn to_integer(&self) -> Option<BigInt> {
        if !self.is_exact() || self.exp > 1 << 17 {
            return None;
        }
        if self.exp >= 0 {
            return Some(&self.mid << self.exp);
        }
        let twos = self.mid.trailing_zeros();
        twos.is_none_or(|t| t as i64 >= -self.exp).then(|| self.to_fixed(0))
    }

    /// ⌊x⌋, if it is the same for all x in the ball.
    pub(super) fn floor(&self) -> Option<BigInt> {
        if self.top() > 1 << 17 || self.rad.log2() > 1 << 17 {
            return None;
        }
        let floor = self.to_fixed(0);
        if self.is_exact() {
            return Some(floor);
        }
        let p = self.mid.bits() as i64 + 64;
        let below = self.sub(&Ball::integer(floor.clone()), p);
        let above = Ball::integer(&floor + 1).sub(self, p);
        (below.is_positive() && above.is_positive()).then_some(floor)
    }

    pub(super) fn neg(&self) -> Ball {
        Ball { mid: -&self.mid, ..self.clone() }
    }

    /// |x|; the ball may contain zero.
    pub(super) fn abs(&self) -> Ball {
        Ball { mid: self.mid.abs(), ..self.clone() }
    }

    /// `self`·2^`k`
    pub(super) fn shift(&self, k: i64) -> Ball {
        let exp = if self.mid.is_zero() { 0 } else { self.exp + k };
        Ball { mid: self.mid.clone(), exp, rad: self.rad.shift(k) }
    }

    pub(super) fn add(&self, other: &Ball, p: i64) -> Ball {
        let rad = self.rad.add(other.rad);
        if self.mid.is_zero() {
            return Ball::new(other.mid.clone(), other.exp, rad, p);
        }
        if other.mid.is_zero() {
            return Ball::new(self.mid.clone(), self.exp, rad, p);
        }
        let (high, low) = if self.exp >= other.exp { (self, other) } else { (other, self) };
        let d = high.exp - low.exp;
        if d <= 2 * p + 64 {
            return Ball::new((&high.mid << d) + &low.mid, low.exp, rad, p);
        }
        // The lower operand is below the error.
        let shift = (p + 2 - high.mid.bits() as i64).max(0);
        let lost = Mag::of(low.mid.magnitude(), low.exp, true);
        Ball::new(&high.mid << shift, high.exp - shift, rad.add(lost), p)
    }

    pub(super) fn sub(&self, other: &Ball, p: i64) -> Ball {
        self.add(&other.neg(), p)
    }

    pub(super) fn mul(&self, other: &Ball, p: i64) -> Ball {
        let rad = if self.is_exact() && other.is_exact() {
            Mag::ZERO
        } else {
            let size = Mag::of(self.mid.magnitude(), self.exp, true);
            size.mul(other.rad).add(other.upper().mul(self.rad))
        };
        Ball::new(&self.mid * &other.mid, self.exp + other.exp, rad, p)
    }

    pub(super) fn square(&self, p: i64) -> Ball {
        self.mul(self, p)
    }

    pub(super) fn div(&self, other: &Ball, p: i64) -> Result<Ball, Failure> {
        if other.is_zero() {
            return Err(Failure::Undefined);
        }
        let lower = other.lower();
        if lower.is_zero() {
            return Err(Failure::Singular);
        }
        let shift = (p + 2 + other.mid.bits() as i64 - self.mid.bits() as i64).max(0);
        let exp = self.exp - other.exp - shift;
        let shifted = &self.mid << shift;
        let mid = &shifted / &other.mid;
        let exact = &mid * &other.mid == shifted;
        // |A/B − a/b| ≤ (|A| r_b + |B| r_a) / (|B| (|B| − r_b)), which is (|A/B| r_b + r_a) / (|B| − r_b).
        let mut rad = Mag::ZERO;
        if !self.is_exact() || !other.is_exact() {
            let quotient = Mag::of(mid.magnitude(), exp, true).add(Mag::power(exp));
            rad = quotient.mul(other.rad).add(self.rad).div(lower);
        }
        if !exact {
            rad = rad.add(Mag::power(exp));
        }
        Ok(Ball::new(mid, exp, rad, p))
    }

    /// The k-th root. Negative numbers in the ball are treated as zero.
    pub(super) fn root(&self, k: u32, p: i64) -> Ball {
        if self.is_zero() {
            return Ball::zero();
        }
        let k_wide = i64::from(k);
        let lower = self.lower();
        if lower.is_zero() {
            // The root of [0, u] is in [0, 2^⌈log2(u)/k⌉].
            return Ball::around_zero(Mag::power(self.upper().log2().div_euclid(k_wide) + 1));
        }
        let want = k_wide * (p + 2) - self.mid.bits() as i64;
        let mut shift = want.max(0);
        shift += (self.exp - shift).rem_euclid(k_wide);
        let radicand = &self.mid << shift;
        let mid = if k == 2 { radicand.sqrt() } else { radicand.nth_root(k) };
        let exp = (self.exp - shift) / k_wide;
        let exact = mid.pow(k) == radicand;
        // |x^{1/k} − y^{1/k}| ≤ |x − y| · y^{1/k} / y for the lower bound y of both; y^{1/k} is at most that of the
        // midpoint.
        let mut rad = Mag::ZERO;
        if !self.is_exact() {
            let size = Mag::of(mid.magnitude(), exp, true).add(Mag::power(exp));
            rad = size.mul(self.rad).div(lower);
        }
        if !exact {
            rad = rad.add(Mag::power(exp));
        }
        Ball::new(mid, exp, rad, p)
    }

    pub(super) fn sqrt(&self, p: i64) -> Ball {
        self.root(2, p)
    }

    /// The ends of the ball as rationals, for tests and printing; `None` if the exponent is too large.
    pub(super) fn bounds(&self) -> Option<(BigRational, BigRational)> {
        if self.exp.abs() > 1 << 17 || (!self.rad.is_zero() && self.rad.e.abs() > 1 << 17) {
            return None;
        }
        let power = |e: i64| {
            if e >= 0 {
                BigRational::from_integer(BigInt::one() << e)
            } else {
                BigRational::new(BigInt::one(), BigInt::one() << -e)
            }
        };
        let mid = BigRational::from_integer(self.mid.clone()) * power(self.exp);
        let rad = BigRational::from_integer(BigInt::from(self.rad.m)) * power(self.rad.e);
        Some((&mid - &rad, mid + rad))
    }
}
