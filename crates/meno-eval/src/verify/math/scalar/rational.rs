//! Exact rationals with bounded size. Every operation is charged, and fails before it creates a number that is too
//! long.
//!
//! `num-rational` reduces every result with a binary gcd, which takes quadratic time even against 1. These functions
//! reduce with remainders first, and only if something can cancel.

use num_bigint::{BigInt, BigUint};
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Pow, Signed, ToPrimitive, Zero};

use super::work::{Failure, Work};

/// Maximum length of a numerator or denominator in bits.
pub(super) const MAX_BITS: u64 = 1 << 17;

/// Total bits of numerator and denominator.
pub(super) fn bits(r: &BigRational) -> u64 {
    r.numer().bits() + r.denom().bits()
}

pub(super) fn integer(n: impl Into<BigInt>) -> BigRational {
    BigRational::from_integer(n.into())
}

pub(super) fn ratio(n: i64, d: i64) -> BigRational {
    BigRational::new(n.into(), d.into())
}

fn gcd(a: &BigInt, b: &BigInt, work: &mut Work) -> Result<BigInt, Failure> {
    let (mut a, mut b) = if a.bits() >= b.bits() { (a.abs(), b.abs()) } else { (b.abs(), a.abs()) };
    while !b.is_zero() && (a.bits() > b.bits() + 64 || b.bits() <= 64) {
        work.multiply(a.bits() as i64, 2)?;
        let r = &a % &b;
        a = std::mem::replace(&mut b, r);
    }
    if b.is_zero() {
        return Ok(a);
    }
    let bits = a.bits();
    work.spend(bits * (bits / 256 + 20))?;
    Ok(a.gcd(&b))
}

fn reduced(n: BigInt, d: BigInt, work: &mut Work) -> Result<BigRational, Failure> {
    if n.bits().max(d.bits()) > MAX_BITS {
        return Err(Failure::Limit);
    }
    if d.is_one() || n.is_zero() {
        return Ok(BigRational::from_integer(n));
    }
    let g = gcd(&n, &d, work)?;
    let (n, d) = if g.is_one() { (n, d) } else { (n / &g, d / &g) };
    Ok(if d.is_negative() { BigRational::new_raw(-n, -d) } else { BigRational::new_raw(n, d) })
}

pub(super) fn add(a: &BigRational, b: &BigRational, work: &mut Work) -> Result<BigRational, Failure> {
    work.multiply(bits(a).max(bits(b)) as i64, 2)?;
    if a.denom().is_one() && b.denom().is_one() {
        let sum = a.numer() + b.numer();
        return if sum.bits() > MAX_BITS { Err(Failure::Limit) } else { Ok(BigRational::from_integer(sum)) };
    }
    if bits(a) + bits(b) > 2 * MAX_BITS {
        return Err(Failure::Limit);
    }
    reduced(a.numer() * b.denom() + b.numer() * a.denom(), a.denom() * b.denom(), work)
}

pub(super) fn mul(a: &BigRational, b: &BigRational, work: &mut Work) -> Result<BigRational, Failure> {
    if bits(a) + bits(b) > 2 * MAX_BITS {
        return Err(Failure::Limit);
    }
    work.multiply(bits(a).max(bits(b)) as i64, 2)?;
    if a.denom().is_one() && b.denom().is_one() {
        let product = a.numer() * b.numer();
        return if product.bits() > MAX_BITS { Err(Failure::Limit) } else { Ok(BigRational::from_integer(product)) };
    }
    let left = reduced(a.numer().clone(), b.denom().clone(), work)?;
    let right = reduced(b.numer().clone(), a.denom().clone(), work)?;
    let (n, d) = (left.numer() * right.numer(), left.denom() * right.denom());
    if n.bits().max(d.bits()) > MAX_BITS {
        return Err(Failure::Limit);
    }
    Ok(BigRational::new_raw(n, d))
}

/// 1/r; r must not be zero.
pub(super) fn recip(r: &BigRational) -> BigRational {
    let (n, d) = (r.numer().clone(), r.denom().clone());
    if n.is_negative() { BigRational::new_raw(-d, -n) } else { BigRational::new_raw(d, n) }
}

/// r^n; r must not be zero if n is negative.
pub(super) fn pow(r: &BigRational, n: &BigInt, work: &mut Work) -> Result<BigRational, Failure> {
    let trivial = r.denom().is_one() && r.numer().magnitude().is_one() || r.is_zero();
    let n = if trivial {
        if n.is_zero() { BigInt::zero() } else { BigInt::from(2 - i32::from(n.bit(0))) * n.signum() }
    } else {
        n.clone()
    };
    let size = n.magnitude().to_u64().ok_or(Failure::Limit)?;
    if r.numer().bits().max(r.denom().bits()).saturating_mul(size) > MAX_BITS + size {
        return Err(Failure::Limit);
    }
    work.multiply((bits(r) * size) as i64, 4)?;
    let power = BigRational::new_raw(Pow::pow(r.numer(), size), Pow::pow(r.denom(), size));
    Ok(if n.is_negative() { recip(&power) } else { power })
}

/// The product of lo..=hi in steps of `step`, by binary splitting.
fn product(lo: u64, hi: u64, step: u64) -> BigUint {
    if lo > hi {
        return BigUint::one();
    }
    let count = (hi - lo) / step + 1;
    if count <= 8 {
        return (0..count).fold(BigUint::one(), |acc, i| acc * (lo + i * step));
    }
    let middle = lo + (count / 2) * step;
    product(lo, middle - step, step) * product(middle, hi, step)
}

/// n·(n−step)·(n−2 step)…
pub(super) fn factorial(n: u64, step: u64, work: &mut Work) -> Result<BigRational, Failure> {
    if n > 20_000 || (n / step) * u64::from(64 - n.leading_zeros()) > MAX_BITS {
        return Err(Failure::Limit);
    }
    work.multiply(((n / step) * u64::from(64 - n.leading_zeros())) as i64, 8)?;
    let lo = if n.is_multiple_of(step) { step } else { n % step };
    Ok(integer(BigInt::from(product(lo, n, step))))
}

/// r (r−1) … (r−k+1) / k!
pub(super) fn binomial(r: &BigRational, k: u64, work: &mut Work) -> Result<BigRational, Failure> {
    // For integers, uses symmetry.
    if r.denom().is_one() && !r.is_negative() {
        let n = r.numer().to_u64().ok_or(Failure::Limit)?;
        if k > n {
            return Ok(BigRational::zero());
        }
        let k = k.min(n - k);
        if k.saturating_mul(u64::from(64 - n.leading_zeros())) > MAX_BITS {
            return Err(Failure::Limit);
        }
        work.multiply((k * u64::from(64 - n.leading_zeros())) as i64, 12)?;
        return Ok(integer(BigInt::from(product(n - k + 1, n, 1) / product(1, k, 1))));
    }
    if k > 1000 {
        return Err(Failure::Limit);
    }
    let mut value = BigRational::one();
    for j in 0..k {
        let factor = mul(&add(r, &integer(-(j as i64)), work)?, &ratio(1, j as i64 + 1), work)?;
        value = mul(&value, &factor, work)?;
    }
    Ok(value)
}

/// The least common multiple or greatest common divisor of integers.
pub(super) fn gcd_lcm(values: &[BigRational], lcm: bool, work: &mut Work) -> Result<BigRational, Failure> {
    let mut result = if lcm { BigInt::one() } else { BigInt::zero() };
    for v in values {
        if !v.denom().is_one() {
            return Err(Failure::Undefined);
        }
        let g = gcd(&result, v.numer(), work)?;
        result = if !lcm {
            g
        } else if g.is_zero() {
            BigInt::zero()
        } else {
            mul(&integer(result / g), &integer(v.numer().abs()), work)?.numer().clone()
        };
    }
    Ok(integer(result))
}

/// a mod b in [0, |b|)
pub(super) fn modulo(a: &BigRational, b: &BigRational, work: &mut Work) -> Result<BigRational, Failure> {
    if b.is_zero() {
        return Err(Failure::Undefined);
    }
    let b = b.abs();
    if a.denom().is_one() && b.denom().is_one() {
        work.multiply(bits(a) as i64, 4)?;
        return Ok(integer(a.numer().mod_floor(b.numer())));
    }
    let quotient = mul(a, &recip(&b), work)?;
    let floor = integer(quotient.numer().div_floor(quotient.denom()));
    add(a, &-mul(&floor, &b, work)?, work)
}

/// The k-th root of a positive rational, if the root is rational.
pub(super) fn exact_root(r: &BigRational, k: u64, work: &mut Work) -> Result<Option<BigRational>, Failure> {
    let root = |x: &BigInt, work: &mut Work| -> Result<Option<BigInt>, Failure> {
        if x.is_one() {
            return Ok(Some(BigInt::one()));
        }
        if x.bits() < k {
            return Ok(None);
        }
        work.multiply(x.bits() as i64, 40)?;
        let root = x.nth_root(k as u32);
        Ok((Pow::pow(&root, k) == *x).then_some(root))
    };
    let Some(n) = root(r.numer(), work)? else { return Ok(None) };
    Ok(root(r.denom(), work)?.map(|d| BigRational::new_raw(n, d)))
}

/// The small prime factors of a positive integer with exponents, and the remaining cofactor.
pub(super) fn factor(x: &BigInt, work: &mut Work) -> Result<(Vec<(u32, u32)>, BigInt), Failure> {
    let mut rest = x.clone();
    let mut found = Vec::new();
    if rest.bits() > 4096 {
        return Ok((found, rest));
    }
    let mut divide = |rest: &mut BigInt, p: u32, work: &mut Work| -> Result<(), Failure> {
        let mut exponent = 0;
        loop {
            work.spend(20 + rest.bits() / 16)?;
            if !(&*rest % p).is_zero() {
                break;
            }
            *rest /= p;
            exponent += 1;
        }
        if exponent > 0 {
            found.push((p, exponent));
        }
        Ok(())
    };
    for p in primes() {
        if rest.is_one() {
            break;
        }
        if let Some(small) = rest.to_u64()
            && u64::from(p) * u64::from(p) > small
        {
            // The remaining cofactor is prime.
            if let Ok(prime) = u32::try_from(small) {
                divide(&mut rest, prime, work)?;
            }
            break;
        }
        divide(&mut rest, p, work)?;
    }
    Ok((found, rest))
}

/// Primes below 1000.
fn primes() -> impl Iterator<Item = u32> {
    (2u32..1000).filter(|n| (2..=n.isqrt()).all(|d| n % d != 0))
}

/// Compares numerator and denominator. `Ratio` compares recursively with continued fractions, so two close numbers with
/// thousands of digits would overflow the stack.
pub(super) fn same(a: &BigRational, b: &BigRational) -> bool {
    a.numer() == b.numer() && a.denom() == b.denom()
}

/// Orders by cross-multiplication, for the same reason as [`same`].
pub(super) fn order(a: &BigRational, b: &BigRational) -> std::cmp::Ordering {
    (a.numer() * b.denom()).cmp(&(b.numer() * a.denom()))
}
