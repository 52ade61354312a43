//! Bounds of errors: non-negative numbers of 32 bits, rounded up or down.

use num_bigint::BigUint;
use num_traits::ToPrimitive;

/// A non-negative bound with 32 bits of precision: `m`·2^`e`, with m = 0 or 2^31 ≤ m ≤ 2^32.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mag {
    pub(super) m: u64,
    pub(super) e: i64,
}

impl Mag {
    pub(super) const ZERO: Mag = Mag { m: 0, e: 0 };

    /// 2^`e`
    pub(super) fn power(e: i64) -> Mag {
        Mag { m: 1 << 31, e: e - 31 }
    }

    /// `m`·2^`e`, rounded up or down to 32 bits.
    pub(super) fn rounded(m: u128, e: i64, up: bool) -> Mag {
        if m == 0 {
            return Mag::ZERO;
        }
        let bits = 128 - m.leading_zeros();
        if bits <= 32 {
            return Mag { m: (m as u64) << (32 - bits), e: e - i64::from(32 - bits) };
        }
        let shift = bits - 32;
        let inexact = m & ((1 << shift) - 1) != 0;
        Mag { m: (m >> shift) as u64 + u64::from(up && inexact), e: e + i64::from(shift) }
    }

    /// An upper or lower bound of |x|·2^`exp`.
    pub(super) fn of(x: &BigUint, exp: i64, up: bool) -> Mag {
        let bits = x.bits();
        if bits <= 64 {
            return Mag::rounded(u128::from(x.to_u64().unwrap_or(0)), exp, up);
        }
        let shift = bits - 64;
        let top = (x >> shift).to_u64().unwrap_or(u64::MAX);
        Mag::rounded(u128::from(top) + u128::from(up), exp + shift as i64, up)
    }

    pub(super) fn is_zero(self) -> bool {
        self.m == 0
    }

    /// An upper bound of the sum.
    pub(super) fn add(self, other: Mag) -> Mag {
        if self.is_zero() {
            return other;
        }
        if other.is_zero() {
            return self;
        }
        let (high, low) = if self.e >= other.e { (self, other) } else { (other, self) };
        let d = high.e - low.e;
        if d <= 64 {
            Mag::rounded((u128::from(high.m) << d) + u128::from(low.m), low.e, true)
        } else {
            Mag::rounded(u128::from(high.m) + 1, high.e, true)
        }
    }

    /// An upper bound of the product.
    pub(super) fn mul(self, other: Mag) -> Mag {
        Mag::rounded(u128::from(self.m) * u128::from(other.m), self.e + other.e, true)
    }

    /// An upper bound of the quotient; `other` must not be zero.
    pub(super) fn div(self, other: Mag) -> Mag {
        if self.is_zero() {
            return Mag::ZERO;
        }
        Mag::rounded((u128::from(self.m) << 64) / u128::from(other.m.max(1)) + 1, self.e - other.e - 64, true)
    }

    /// A lower bound of `self − other`, or zero if it is not positive.
    pub(super) fn sub_low(self, other: Mag) -> Mag {
        if other.is_zero() {
            return self;
        }
        if !self.exceeds(other) {
            return Mag::ZERO;
        }
        // Here, self.e ≥ other.e − 1.
        let d = self.e - other.e;
        if d > 64 {
            return Mag::rounded((u128::from(self.m) << 8) - 1, self.e - 8, false);
        }
        let (a, b, e) = if d >= 0 {
            (u128::from(self.m) << d, u128::from(other.m), other.e)
        } else {
            (u128::from(self.m), u128::from(other.m) << -d, self.e)
        };
        Mag::rounded(a.saturating_sub(b), e, false)
    }

    /// `self`·2^`k`
    pub(super) fn shift(self, k: i64) -> Mag {
        Mag { m: self.m, e: if self.m == 0 { 0 } else { self.e + k } }
    }

    /// `self > other`
    pub(super) fn exceeds(self, other: Mag) -> bool {
        if self.is_zero() || other.is_zero() {
            return !self.is_zero();
        }
        let d = self.e - other.e;
        match d {
            34.. => true,
            0.. => (u128::from(self.m) << d) > u128::from(other.m),
            -33.. => u128::from(self.m) > (u128::from(other.m) << -d),
            _ => false,
        }
    }

    /// An e such that the number is at most 2^e; `i64::MIN` for zero.
    pub(super) fn log2(self) -> i64 {
        if self.is_zero() { i64::MIN } else { self.e + 64 - i64::from((self.m - 1).leading_zeros()) }
    }
}
