//! Complex balls: a real ball for each part, and the elementary functions with principal branches.
//!
//! A number whose imaginary part is exactly zero is real and uses the real functions.

use std::cmp::Ordering;

use num_rational::BigRational;
use num_traits::{One, ToPrimitive};

use super::ball::Ball;
use super::elementary::{self, MAX_EXPONENT};
use super::magnitude::Mag;
use super::work::Failure;

/// A rectangle in the complex plane.
#[derive(Clone, Debug)]
pub(super) struct Complex {
    pub(super) re: Ball,
    pub(super) im: Ball,
}

impl Complex {
    pub(super) fn real(re: Ball) -> Complex {
        Complex { re, im: Ball::zero() }
    }

    pub(super) fn zero() -> Complex {
        Complex::real(Ball::zero())
    }

    pub(super) fn one() -> Complex {
        Complex::real(Ball::one())
    }

    pub(super) fn i() -> Complex {
        Complex { re: Ball::zero(), im: Ball::one() }
    }

    /// True if the imaginary part is exactly zero.
    pub(super) fn is_real(&self) -> bool {
        self.im.is_zero()
    }

    /// True if the imaginary part is certainly nonzero.
    pub(super) fn is_nonreal(&self) -> bool {
        !self.im.contains_zero()
    }

    pub(super) fn is_zero(&self) -> bool {
        self.re.is_zero() && self.im.is_zero()
    }

    pub(super) fn contains_zero(&self) -> bool {
        self.re.contains_zero() && self.im.contains_zero()
    }

    /// The real ball, if the number is real; otherwise an error.
    pub(super) fn to_real(&self) -> Result<&Ball, Failure> {
        if self.is_real() {
            Ok(&self.re)
        } else if self.is_nonreal() {
            Err(Failure::Undefined)
        } else {
            Err(Failure::Unclear)
        }
    }

    /// An upper bound of the absolute value.
    pub(super) fn upper(&self) -> Mag {
        self.re.upper().add(self.im.upper())
    }

    /// Fails if a part is too large or too small for further operations.
    pub(super) fn checked(self) -> Result<Complex, Failure> {
        let fits = |b: &Ball| b.is_zero() || (b.upper().log2().abs() < MAX_EXPONENT);
        if fits(&self.re) && fits(&self.im) { Ok(self) } else { Err(Failure::Limit) }
    }

    pub(super) fn neg(&self) -> Complex {
        Complex { re: self.re.neg(), im: self.im.neg() }
    }

    pub(super) fn add(&self, other: &Complex, p: i64) -> Complex {
        Complex { re: self.re.add(&other.re, p), im: self.im.add(&other.im, p) }
    }

    pub(super) fn sub(&self, other: &Complex, p: i64) -> Complex {
        self.add(&other.neg(), p)
    }

    pub(super) fn mul(&self, other: &Complex, p: i64) -> Complex {
        if self.is_real() && other.is_real() {
            return Complex::real(self.re.mul(&other.re, p));
        }
        let re = self.re.mul(&other.re, p).sub(&self.im.mul(&other.im, p), p);
        let im = self.re.mul(&other.im, p).add(&self.im.mul(&other.re, p), p);
        Complex { re, im }
    }

    /// Multiplies by i.
    fn times_i(&self) -> Complex {
        Complex { re: self.im.neg(), im: self.re.clone() }
    }

    fn half(&self) -> Complex {
        Complex { re: self.re.shift(-1), im: self.im.shift(-1) }
    }

    /// |z|²
    fn norm(&self, p: i64) -> Ball {
        self.re.square(p).add(&self.im.square(p), p)
    }

    pub(super) fn inverse(&self, p: i64) -> Result<Complex, Failure> {
        if self.is_real() {
            return Ok(Complex::real(Ball::one().div(&self.re, p)?));
        }
        let norm = self.norm(p);
        Ok(Complex { re: self.re.div(&norm, p)?, im: self.im.neg().div(&norm, p)? })
    }

    pub(super) fn div(&self, other: &Complex, p: i64) -> Result<Complex, Failure> {
        Ok(self.mul(&other.inverse(p)?, p))
    }

    pub(super) fn abs(&self, p: i64) -> Ball {
        if self.is_real() { self.re.abs() } else { self.norm(p).sqrt(p) }
    }

    /// The argument in (−π, π].
    pub(super) fn arg(&self, p: i64) -> Result<Ball, Failure> {
        if self.is_zero() {
            return Err(Failure::Undefined);
        }
        if self.is_real() {
            return match self.re.sign() {
                Some(Ordering::Greater) => Ok(Ball::zero()),
                Some(_) => elementary::pi(p),
                None => Err(Failure::Singular),
            };
        }
        if self.re.is_positive() {
            return elementary::atan(&self.im.div(&self.re, p)?, p);
        }
        // For y > 0 the argument is π/2 − arctan(x/y), for y < 0 it is −π/2 − arctan(x/y).
        let half = elementary::pi(p)?.shift(-1);
        let angle = |half: Ball| Ok(half.sub(&elementary::atan(&self.re.div(&self.im, p)?, p)?, p));
        match self.im.sign() {
            Some(Ordering::Greater) => angle(half),
            Some(Ordering::Less) => angle(half.neg()),
            _ => Err(Failure::Unclear),
        }
    }

    pub(super) fn exp(&self, p: i64) -> Result<Complex, Failure> {
        let size = elementary::exp(&self.re, p)?;
        if self.is_real() {
            return Ok(Complex::real(size));
        }
        let (sin, cos) = elementary::sin_cos(&self.im, p)?;
        Ok(Complex { re: size.mul(&cos, p), im: size.mul(&sin, p) })
    }

    pub(super) fn ln(&self, p: i64) -> Result<Complex, Failure> {
        if self.is_zero() {
            return Err(Failure::Undefined);
        }
        if self.is_real() {
            let re = elementary::ln(&self.re.abs(), p)?;
            return Ok(Complex { re, im: self.arg(p)? });
        }
        Ok(Complex { re: elementary::ln(&self.norm(p), p)?.shift(-1), im: self.arg(p)? })
    }

    pub(super) fn sqrt(&self, p: i64) -> Result<Complex, Failure> {
        self.rational_power(1, 2, p)
    }

    /// z^(n/k) for a small k > 1 coprime to n: the real root for a real z and odd k, otherwise the principal one.
    pub(super) fn rational_power(&self, n: i64, k: u32, p: i64) -> Result<Complex, Failure> {
        if self.is_real() {
            let root = self.re.abs().root(k, p);
            let root = match self.re.sign() {
                Some(Ordering::Greater | Ordering::Equal) => Complex::real(root),
                Some(Ordering::Less) if k % 2 == 1 => Complex::real(root.neg()),
                Some(Ordering::Less) if k == 2 => Complex { re: Ball::zero(), im: root },
                Some(Ordering::Less) => {
                    let angle = elementary::pi(p)?.div(&Ball::integer(k), p)?;
                    let (sin, cos) = elementary::sin_cos(&angle, p)?;
                    Complex { re: root.mul(&cos, p), im: root.mul(&sin, p) }
                }
                // The ball contains zero: the root is anywhere near zero.
                None if k % 2 == 1 => Complex::real(Ball::around_zero(root.upper())),
                None => Complex { re: Ball::around_zero(root.upper()), im: Ball::around_zero(root.upper()) },
            };
            return root.integer_power(n, p);
        }
        if self.contains_zero() {
            if n < 0 {
                return Err(Failure::Singular);
            }
            let size = self.abs(p).root(k, p).upper();
            return Complex { re: Ball::around_zero(size), im: Ball::around_zero(size) }.integer_power(n, p);
        }
        let exponent = Ball::rational(&BigRational::new(n.into(), k.into()), p);
        self.ln(p)?.mul(&Complex::real(exponent), p).exp(p)
    }

    /// z^n
    pub(super) fn integer_power(&self, n: i64, p: i64) -> Result<Complex, Failure> {
        if n == 0 {
            return match (self.is_zero(), self.contains_zero()) {
                (true, _) => Err(Failure::Undefined),
                (_, true) => Err(Failure::Singular),
                _ => Ok(Complex::one()),
            };
        }
        let mut result = Complex::one();
        let mut square = self.clone();
        let mut left = n.unsigned_abs();
        // Each step may double the error, so the computation uses a few more bits.
        let w = p + 64 - i64::from(left.leading_zeros()) + 4;
        loop {
            if left & 1 == 1 {
                result = result.mul(&square, w).checked()?;
            }
            left >>= 1;
            if left == 0 {
                break;
            }
            square = square.mul(&square, w).checked()?;
        }
        if n < 0 { result.inverse(p) } else { Ok(result) }
    }

    /// z^w, principal branch. Exception: odd roots of negative numbers are real if the exponent is a `literal` p/q.
    pub(super) fn pow(&self, exponent: &Complex, literal: Option<&BigRational>, p: i64) -> Result<Complex, Failure> {
        let integer = if exponent.is_real() { exponent.re.to_integer() } else { None };
        if let Some(n) = integer {
            return self.integer_power(n.to_i64().ok_or(Failure::Limit)?, p);
        }
        if self.is_zero() {
            let positive = exponent.re.sign().ok_or(Failure::Unclear)?;
            return if positive == Ordering::Greater { Ok(Complex::zero()) } else { Err(Failure::Undefined) };
        }
        if let Some(r) = literal {
            if let (Some(n), Some(k @ 2..=16)) = (r.numer().to_i64(), r.denom().to_u32()) {
                return self.rational_power(n, k, p);
            }
            // The real root of odd degree.
            let odd = r.denom().bit(0);
            if odd && self.is_real() && self.re.is_negative() {
                let size = Complex::real(self.re.neg()).pow(exponent, None, p)?;
                return Ok(if r.numer().bit(0) { size.neg() } else { size });
            }
        }
        if self.contains_zero() {
            return Err(Failure::Singular);
        }
        self.ln(p)?.mul(exponent, p).exp(p)
    }

    pub(super) fn sin(&self, p: i64) -> Result<Complex, Failure> {
        let (sin, cos) = elementary::sin_cos(&self.re, p)?;
        if self.is_real() {
            return Ok(Complex::real(sin));
        }
        let (sinh, cosh) = hyperbolic(&self.im, p)?;
        Ok(Complex { re: sin.mul(&cosh, p), im: cos.mul(&sinh, p) })
    }

    pub(super) fn cos(&self, p: i64) -> Result<Complex, Failure> {
        let (sin, cos) = elementary::sin_cos(&self.re, p)?;
        if self.is_real() {
            return Ok(Complex::real(cos));
        }
        let (sinh, cosh) = hyperbolic(&self.im, p)?;
        Ok(Complex { re: cos.mul(&cosh, p), im: sin.mul(&sinh, p).neg() })
    }

    pub(super) fn asin(&self, p: i64) -> Result<Complex, Failure> {
        let one = Complex::one();
        if self.is_real() {
            let rest = Ball::one().sub(&self.re.square(p), p);
            match rest.sign() {
                Some(Ordering::Greater) => {
                    // arcsin x = 2 arctan(x / (1 + √(1−x²)))
                    let half = self.re.div(&Ball::one().add(&rest.sqrt(p), p), p)?;
                    return Ok(Complex::real(elementary::atan(&half, p)?.shift(1)));
                }
                Some(Ordering::Equal) => {
                    let half = elementary::pi(p)?.shift(-1);
                    return Ok(Complex::real(if self.re.is_negative() { half.neg() } else { half }));
                }
                Some(Ordering::Less) => {}
                None => return Err(Failure::Unclear),
            }
        }
        // −i ln(iz + √(1−z²))
        let root = one.sub(&self.mul(self, p), p).sqrt(p)?;
        Ok(self.times_i().add(&root, p).ln(p)?.times_i().neg())
    }

    pub(super) fn atan(&self, p: i64) -> Result<Complex, Failure> {
        if self.is_real() {
            return Ok(Complex::real(elementary::atan(&self.re, p)?));
        }
        // (i/2) (ln(1−iz) − ln(1+iz))
        let (one, iz) = (Complex::one(), self.times_i());
        Ok(one.sub(&iz, p).ln(p)?.sub(&one.add(&iz, p).ln(p)?, p).times_i().half())
    }

    pub(super) fn asinh(&self, p: i64) -> Result<Complex, Failure> {
        if self.is_real() && self.re.is_negative() {
            return Ok(self.neg().asinh(p)?.neg());
        }
        let root = self.mul(self, p).add(&Complex::one(), p).sqrt(p)?;
        self.add(&root, p).ln(p)
    }

    pub(super) fn acosh(&self, p: i64) -> Result<Complex, Failure> {
        let one = Complex::one();
        let root = self.sub(&one, p).sqrt(p)?.mul(&self.add(&one, p).sqrt(p)?, p);
        self.add(&root, p).ln(p)
    }

    pub(super) fn atanh(&self, p: i64) -> Result<Complex, Failure> {
        let one = Complex::one();
        Ok(one.add(self, p).ln(p)?.sub(&one.sub(self, p).ln(p)?, p).half())
    }

    /// The sign of a real number, without dividing by |z|.
    pub(super) fn signum(&self) -> Result<Complex, Failure> {
        let sign = self.to_real()?.sign().ok_or(Failure::Unclear)?;
        Ok(Complex::real(Ball::integer(sign as i32)))
    }
}

/// sinh x and cosh x
fn hyperbolic(x: &Ball, p: i64) -> Result<(Ball, Ball), Failure> {
    let up = elementary::exp(x, p)?;
    let down = Ball::one().div(&up, p)?;
    Ok((up.sub(&down, p).shift(-1), up.add(&down, p).shift(-1)))
}

/// A small rational as an i64 numerator and a u32 denominator.
pub(super) fn small_ratio(r: &BigRational) -> Option<(i64, u32)> {
    Some((r.numer().to_i64()?, r.denom().to_u32()?))
}

/// An integer as an i64.
pub(super) fn small_integer(r: &BigRational) -> Option<i64> {
    if r.denom().is_one() { r.numer().to_i64() } else { None }
}
