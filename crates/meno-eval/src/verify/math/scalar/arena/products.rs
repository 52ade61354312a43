//! Products and quotients in normal form.

use super::{Arena, Id, NodeResult, Op};
use crate::verify::math::scalar::rational::{self, integer};
use crate::verify::math::scalar::work::{Failure, Work};
use crate::verify::math::tree::Function;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Zero};
use std::collections::HashMap;

/// The parts of a product, collected from nested products.
struct Factors {
    coefficient: BigRational,
    /// Bases with their rational exponents.
    powers: Vec<(Id, BigRational)>,
    /// Powers whose exponents do not add up with those of `powers`.
    factors: Vec<Id>,
    /// The arguments of exponential functions.
    exponents: Vec<Id>,
}

impl Arena {
    /// Builds a product of factors in normal form.
    pub(in crate::verify::math::scalar) fn product(
        &mut self,
        c: BigRational,
        factors: Vec<Id>,
        work: &mut Work,
    ) -> NodeResult {
        if factors.is_empty() {
            return self.rational(c, work);
        }
        if let [id] = factors[..] {
            if c.is_one() {
                return Ok(id);
            }
            if let Op::Add(constant, terms) = self.op(id).clone() {
                // Distributes a coefficient over a sum.
                if !c.is_zero() {
                    let constant = rational::mul(&constant, &c, work)?;
                    let mut scaled = vec![self.rational(constant, work)?];
                    for term in terms {
                        let (d, core) = self.split(term);
                        let d = rational::mul(&d, &c, work)?;
                        scaled.push(self.product(d, core, work)?);
                    }
                    return self.add(&scaled, work);
                }
            }
        }
        self.intern(Op::Mul(c, factors), work)
    }

    pub(in crate::verify::math::scalar) fn mul(&mut self, ids: &[Id], work: &mut Work) -> NodeResult {
        let Factors { mut coefficient, powers, mut factors, exponents } = self.collect_factors(ids, work)?;
        if !exponents.is_empty() {
            let sum = self.add(&exponents, work)?;
            factors.push(if exponents.len() == 1 {
                self.intern(Op::Call(Function::Exp, exponents), work)?
            } else {
                self.exp(sum, work)?
            });
        }
        for (base, exponent) in powers {
            factors.push(if exponent.is_one() { base } else { self.rational_pow(base, &exponent, work)? });
        }
        let mut flat = Vec::with_capacity(factors.len());
        for id in factors {
            match self.op(id) {
                Op::Rational(r) => coefficient = rational::mul(&coefficient, r, work)?,
                Op::Mul(c, inner) => {
                    coefficient = rational::mul(&coefficient, c, work)?;
                    flat.extend(inner.iter().copied());
                }
                _ => flat.push(id),
            }
        }
        if coefficient.is_zero() && flat.iter().all(|&id| self.facts[id].nonzero) {
            return self.rational(BigRational::zero(), work);
        }
        flat.sort_unstable();
        self.product(coefficient, flat, work)
    }

    /// True if x^a·x^b = x^(a+b). Odd denominators are real roots and all others are principal roots; the two do not
    /// combine unless x is positive.
    pub(super) fn exponents_add(&self, base: Id, a: &BigRational, b: &BigRational) -> bool {
        let odd = |r: &BigRational| r.denom().is_odd();
        let principal = |r: &BigRational| r.denom().is_one() || r.denom().is_even();
        self.facts[base].positive || (odd(a) && odd(b)) || (principal(a) && principal(b) && principal(&(a + b)))
    }

    pub(in crate::verify::math::scalar) fn inverse(&mut self, id: Id, work: &mut Work) -> NodeResult {
        self.rational_pow(id, &integer(-1), work)
    }

    pub(in crate::verify::math::scalar) fn div(&mut self, a: Id, b: Id, work: &mut Work) -> NodeResult {
        let inverse = self.inverse(b, work)?;
        self.mul(&[a, inverse], work)
    }

    fn collect_factors(&self, ids: &[Id], work: &mut Work) -> Result<Factors, Failure> {
        let mut coefficient = BigRational::one();
        let mut powers: Vec<(Id, BigRational)> = Vec::new();
        let mut place: HashMap<Id, usize> = HashMap::new();
        let mut factors = Vec::new();
        let mut exponents = Vec::new();
        let mut stack: Vec<Id> = ids.iter().rev().copied().collect();
        while let Some(id) = stack.pop() {
            work.spend(100)?;
            match self.op(id) {
                Op::Rational(r) => coefficient = rational::mul(&coefficient, r, work)?,
                Op::Mul(c, inner) => {
                    coefficient = rational::mul(&coefficient, c, work)?;
                    stack.extend(inner);
                }
                Op::Call(Function::Exp, args) => exponents.push(args[0]),
                op => {
                    let (base, exponent) = match op {
                        Op::Pow(base, exponent) => match self.rational_value(*exponent) {
                            Some(r) => (*base, r.clone()),
                            None => (id, BigRational::one()),
                        },
                        _ => (id, BigRational::one()),
                    };
                    match place.get(&base) {
                        Some(&i) if self.exponents_add(base, &powers[i].1, &exponent) => {
                            powers[i].1 = rational::add(&powers[i].1, &exponent, work)?;
                        }
                        Some(_) => factors.push(id),
                        None => {
                            place.insert(base, powers.len());
                            powers.push((base, exponent));
                        }
                    }
                }
            }
        }
        Ok(Factors { coefficient, powers, factors, exponents })
    }
}
