//! Builds sines, exponentials and logarithms in normal form.

use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::super::tree::Function;
use super::arena::{Arena, Id, NodeResult, Op};
use super::rational::{self, integer, ratio};
use super::work::{Failure, Work};

impl Arena {
    /// The r for which the node is rπ.
    pub(super) fn pi_multiple(&self, id: Id) -> Option<BigRational> {
        match self.op(id) {
            Op::Pi => Some(BigRational::one()),
            Op::Rational(r) if r.is_zero() => Some(BigRational::zero()),
            Op::Mul(c, ids) if ids.len() == 1 && *self.op(ids[0]) == Op::Pi => Some(c.clone()),
            _ => None,
        }
    }

    pub(super) fn sin(&mut self, x: Id, work: &mut Work) -> NodeResult {
        let Some(r) = self.pi_multiple(x) else { return self.intern(Op::Call(Function::Sin, vec![x]), work) };
        // sin rπ = cos (1/2 − r)π
        self.cos_of(rational::add(&ratio(1, 2), &-r, work)?, work)
    }

    pub(super) fn cos(&mut self, x: Id, work: &mut Work) -> NodeResult {
        let Some(r) = self.pi_multiple(x) else { return self.intern(Op::Call(Function::Cos, vec![x]), work) };
        self.cos_of(r, work)
    }

    /// cos rπ, reduced to 0 ≤ r ≤ 1/2.
    fn cos_of(&mut self, r: BigRational, work: &mut Work) -> NodeResult {
        let mut r = rational::modulo(&r, &integer(2), work)?;
        if r > BigRational::one() {
            r = integer(2) - r;
        }
        if r > ratio(1, 2) {
            let value = self.cos_of(integer(1) - r, work)?;
            return self.scale(&integer(-1), value, work);
        }
        let half = ratio(1, 2);
        match (r.numer().to_u32(), r.denom().to_u32()) {
            (Some(0), _) => self.int(1, work),
            (Some(1), Some(2)) => self.int(0, work),
            (Some(1), Some(3)) => self.rational(half, work),
            (Some(1), Some(n @ (4 | 6))) => {
                let root = self.radical(&integer(if n == 4 { 2 } else { 3 }), &half, work)?;
                self.scale(&half, root, work)
            }
            _ => {
                let pi = self.intern(Op::Pi, work)?;
                let angle = self.scale(&r, pi, work)?;
                self.intern(Op::Call(Function::Cos, vec![angle]), work)
            }
        }
    }

    pub(super) fn exp(&mut self, x: Id, work: &mut Work) -> NodeResult {
        if let Op::Add(c, terms) = self.op(x).clone() {
            let (mut outside, mut inside) = (Vec::new(), vec![self.rational(c, work)?]);
            for term in terms {
                match self.simple_exp(term, work)? {
                    Some(value) => outside.push(value),
                    None => inside.push(term),
                }
            }
            if outside.is_empty() {
                return self.intern(Op::Call(Function::Exp, vec![x]), work);
            }
            let rest = self.add(&inside, work)?;
            outside.push(self.exp(rest, work)?);
            return self.mul(&outside, work);
        }
        match self.simple_exp(x, work)? {
            Some(value) => Ok(value),
            None => self.intern(Op::Call(Function::Exp, vec![x]), work),
        }
    }

    /// e^x in a simpler form, if there is one: e^0, e^(c ln y), e^(iπr).
    fn simple_exp(&mut self, x: Id, work: &mut Work) -> Result<Option<Id>, Failure> {
        let (c, core) = self.split(x);
        match core[..] {
            [] if c.is_zero() => return Ok(Some(self.int(1, work)?)),
            [id] => {
                if let Op::Call(Function::Ln, args) = self.op(id) {
                    let y = args[0];
                    let safe =
                        self.is_positive(y) || c.is_positive() && !c.is_zero() && self.rational_value(y).is_none();
                    if self.is_positive(y) || (safe && (c.denom().is_one() || c.denom().is_even())) {
                        return Ok(Some(self.rational_pow(y, &c, work)?));
                    }
                }
            }
            [a, b] => {
                let pair = (self.op(a), self.op(b));
                if matches!(pair, (Op::I, Op::Pi) | (Op::Pi, Op::I)) {
                    let cos = self.cos_of(c.clone(), work)?;
                    let sin = self.cos_of(rational::add(&ratio(1, 2), &-c, work)?, work)?;
                    let i = self.intern(Op::I, work)?;
                    let imaginary = self.mul(&[i, sin], work)?;
                    return Ok(Some(self.add(&[cos, imaginary], work)?));
                }
            }
            _ => {}
        }
        Ok(None)
    }

    /// Builds ln x, or log x with unknown base.
    pub(super) fn ln(&mut self, f: Function, x: Id, work: &mut Work) -> NodeResult {
        match self.op(x).clone() {
            Op::Rational(r) if r.is_positive() => self.ln_rational(f, &r, work),
            Op::Rational(r) if r.is_negative() && f == Function::Ln => {
                let real = self.ln_rational(f, &-r, work)?;
                let (i, pi) = (self.intern(Op::I, work)?, self.intern(Op::Pi, work)?);
                let imaginary = self.mul(&[i, pi], work)?;
                self.add(&[real, imaginary], work)
            }
            Op::Call(Function::Exp, args) if f == Function::Ln && self.is_real(args[0]) => Ok(args[0]),
            Op::Pow(base, exponent) if self.is_positive(base) && self.is_real(exponent) => {
                let log = self.ln(f, base, work)?;
                self.mul(&[exponent, log], work)
            }
            Op::Mul(c, factors) if !c.is_zero() => {
                let (mut outside, mut inside) = (Vec::new(), Vec::new());
                for id in factors {
                    if self.is_positive(id) { outside.push(id) } else { inside.push(id) }
                }
                if outside.is_empty() && c.abs().is_one() {
                    return self.intern(Op::Call(f, vec![x]), work);
                }
                let mut terms = vec![self.ln_rational(f, &c.abs(), work)?];
                for id in outside {
                    terms.push(self.ln(f, id, work)?);
                }
                if !inside.is_empty() || c.is_negative() {
                    let rest = self.product(c.signum(), inside, work)?;
                    terms.push(self.ln(f, rest, work)?);
                }
                self.add(&terms, work)
            }
            _ => self.intern(Op::Call(f, vec![x]), work),
        }
    }

    /// The logarithm of a positive rational, over primes.
    fn ln_rational(&mut self, f: Function, r: &BigRational, work: &mut Work) -> NodeResult {
        let mut terms = Vec::new();
        for (part, sign) in [(r.numer(), 1), (r.denom(), -1)] {
            let (primes, rest) = rational::factor(part, work)?;
            for (prime, e) in primes {
                let base = self.int(prime.into(), work)?;
                let log = self.intern(Op::Call(f, vec![base]), work)?;
                terms.push(self.scale(&integer(i64::from(e) * sign), log, work)?);
            }
            if !rest.is_one() {
                let base = self.rational(integer(rest), work)?;
                let log = self.intern(Op::Call(f, vec![base]), work)?;
                terms.push(self.scale(&integer(sign), log, work)?);
            }
        }
        self.add(&terms, work)
    }
}
