//! Powers and radicals in normal form.

use super::{Arena, Id, NodeResult, Op};
use crate::verify::math::scalar::rational::{self, integer};
use crate::verify::math::scalar::work::Work;
use crate::verify::math::tree::Function;
use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

impl Arena {
    pub(in crate::verify::math::scalar) fn pow(&mut self, base: Id, exponent: Id, work: &mut Work) -> NodeResult {
        if let Some(r) = self.rational_value(exponent).cloned() {
            return self.rational_pow(base, &r, work);
        }
        if let Op::Call(Function::Exp, args) = self.op(base)
            && self.rational_value(args[0]).is_some()
        {
            // e^x for rational x is real: (e^x)^y = e^(xy).
            let x = args[0];
            let product = self.mul(&[x, exponent], work)?;
            return self.exp(product, work);
        }
        if let Op::Add(c, terms) = self.op(exponent)
            && self.facts[base].positive
            && !c.is_zero()
        {
            let (c, terms) = (c.clone(), terms.clone());
            let rest = self.add(&terms, work)?;
            let (left, right) = (self.rational_pow(base, &c, work)?, self.pow(base, rest, work)?);
            return self.mul(&[left, right], work);
        }
        self.intern(Op::Pow(base, exponent), work)
    }

    /// base^r
    pub(in crate::verify::math::scalar) fn rational_pow(
        &mut self,
        base: Id,
        r: &BigRational,
        work: &mut Work,
    ) -> NodeResult {
        if r.is_one() {
            return Ok(base);
        }
        if r.is_zero() && self.facts[base].nonzero {
            return self.int(1, work);
        }
        let exact = r.denom().is_one();
        match self.op(base).clone() {
            Op::Rational(b) => return self.radical(&b, r, work),
            Op::I if exact => {
                let quarter = r.numer().mod_floor(&BigInt::from(4)).to_u32().unwrap_or(0);
                let i = self.intern(Op::I, work)?;
                return match quarter {
                    0 => self.int(1, work),
                    1 => Ok(i),
                    2 => self.int(-1, work),
                    _ => self.scale(&integer(-1), i, work),
                };
            }
            Op::Call(Function::Exp, args) if exact || self.facts[args[0]].real => {
                let product = self.scale(r, args[0], work)?;
                return self.exp(product, work);
            }
            Op::Pow(inner, e) if exact || self.facts[inner].positive => {
                if let Some(e) = self.rational_value(e).filter(|e| !e.is_zero()).cloned() {
                    let product = rational::mul(&e, r, work)?;
                    if self.exponents_add(inner, &e, &(&product - &e)) {
                        return self.rational_pow(inner, &product, work);
                    }
                }
            }
            Op::Mul(c, factors) if !r.is_zero() => {
                let (mut outside, mut inside) = (Vec::new(), Vec::new());
                for id in factors {
                    if exact || self.facts[id].positive { outside.push(id) } else { inside.push(id) }
                }
                let (size, sign) = if exact { (c, BigRational::one()) } else { (c.abs(), c.signum()) };
                if size.is_zero() {
                    return self.plain_pow(base, r, work);
                }
                if !outside.is_empty() || !size.is_one() {
                    let mut product = vec![self.radical(&size, r, work)?];
                    for id in outside {
                        product.push(self.rational_pow(id, r, work)?);
                    }
                    if !inside.is_empty() || !sign.is_one() {
                        let rest = self.product(sign, inside, work)?;
                        product.push(self.rational_pow(rest, r, work)?);
                    }
                    return self.mul(&product, work);
                }
            }
            _ => {}
        }
        self.plain_pow(base, r, work)
    }

    fn plain_pow(&mut self, base: Id, r: &BigRational, work: &mut Work) -> NodeResult {
        let exponent = self.rational(r.clone(), work)?;
        self.intern(Op::Pow(base, exponent), work)
    }

    /// Builds b^r for rationals, over prime bases with exponents in (0, 1).
    pub(in crate::verify::math::scalar) fn radical(
        &mut self,
        b: &BigRational,
        r: &BigRational,
        work: &mut Work,
    ) -> NodeResult {
        if b.is_zero() {
            let base = self.int(0, work)?;
            return if r.is_positive() { Ok(base) } else { self.plain_pow(base, r, work) };
        }
        if r.denom().is_one() {
            let value = rational::pow(b, r.numer(), work)?;
            return self.rational(value, work);
        }
        if b.is_negative() {
            return self.negative_radical(b, r, work);
        }
        if b.is_one() {
            return self.int(1, work);
        }
        let (whole, fraction) = (r.floor(), r - r.floor());
        if let Some(k) = r.denom().to_u64().filter(|&k| k <= 1 << 16)
            && let Some(root) = rational::exact_root(b, k, work)?
        {
            let value = rational::pow(&root, r.numer(), work)?;
            return self.rational(value, work);
        }
        let mut coefficient = rational::pow(b, whole.numer(), work)?;
        let mut factors: Vec<Id> = Vec::new();
        for (part, inverse) in [(b.numer(), false), (b.denom(), true)] {
            let (primes, rest) = rational::factor(part, work)?;
            let mut bases: Vec<(BigInt, u32)> = primes.into_iter().map(|(p, e)| (p.into(), e)).collect();
            if !rest.is_one() {
                bases.push((rest, 1));
            }
            for (prime, e) in bases {
                let mut exponent = rational::mul(&fraction, &integer(e), work)?;
                if inverse {
                    exponent = -exponent;
                }
                let floor = exponent.floor();
                let outer = rational::pow(&integer(prime.clone()), floor.numer(), work)?;
                coefficient = rational::mul(&coefficient, &outer, work)?;
                let left = exponent - floor;
                if !left.is_zero() {
                    let base = self.rational(integer(prime), work)?;
                    factors.push(self.plain_pow(base, &left, work)?);
                }
            }
        }
        factors.sort_unstable();
        self.product(coefficient, factors, work)
    }

    fn negative_radical(&mut self, b: &BigRational, r: &BigRational, work: &mut Work) -> NodeResult {
        let size = -b;
        if r.denom().is_odd() {
            let root = self.radical(&size, r, work)?;
            return if r.numer().is_odd() { self.scale(&integer(-1), root, work) } else { Ok(root) };
        }
        let root = self.radical(&size, r, work)?;
        let pi = self.intern(Op::Pi, work)?;
        let angle = self.scale(r, pi, work)?;
        let (cos, sin) = (self.cos(angle, work)?, self.sin(angle, work)?);
        let i = self.intern(Op::I, work)?;
        let imaginary = self.mul(&[i, sin], work)?;
        let unit = self.add(&[cos, imaginary], work)?;
        self.mul(&[root, unit], work)
    }
}
