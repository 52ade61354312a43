//! Evaluates a graph with complex balls.

use std::cmp::Ordering;
use std::collections::HashMap;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Signed, ToPrimitive};

use super::super::tree::Function;
use super::arena::{Arena, Id, Op};
use super::ball::Ball;
use super::complex::{Complex, small_ratio};
use super::rational::{self, integer};
use super::work::{Failure, Work, multiplication};

/// Maximum length of a sum that is evaluated term by term.
const MAX_TERMS: i64 = 2000;

/// The value of a node.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) z: Complex,
    /// True if this node and everything below it is real.
    pub(super) real: bool,
}

/// The inputs of an evaluation, other than the graph.
pub(super) struct Context<'a> {
    /// Values of the free variables.
    pub(super) point: &'a [BigRational],
    /// True if `\log` without a base is log10; otherwise it is ln.
    pub(super) log10: bool,
    /// Precision in bits.
    pub(super) p: i64,
}

/// The nodes below some roots, in evaluation order.
pub(super) struct EvaluationOrder {
    order: Vec<Id>,
    /// For each sum or product, the nodes that depend on its bound variable.
    bodies: HashMap<Id, Vec<Id>>,
}

impl EvaluationOrder {
    pub(super) fn new(arena: &Arena, roots: &[Id], work: &mut Work) -> Result<EvaluationOrder, Failure> {
        let order = reachable(arena, roots, work)?;
        let mut bodies = HashMap::new();
        for &id in &order {
            if let Op::Series { slot, term, .. } = arena.op(id) {
                let mut body = reachable(arena, &[*term], work)?;
                body.retain(|&id| arena.bound(id) & (1 << slot) != 0);
                bodies.insert(id, body);
            }
        }
        Ok(EvaluationOrder { order, bodies })
    }

    pub(super) fn nodes(&self) -> &[Id] {
        &self.order
    }
}

/// All nodes below the roots, children first.
fn reachable(arena: &Arena, roots: &[Id], work: &mut Work) -> Result<Vec<Id>, Failure> {
    let mut seen = vec![false; arena.len()];
    work.spend(arena.len() as u64)?;
    let mut stack = roots.to_vec();
    let mut order = Vec::new();
    while let Some(id) = stack.pop() {
        if !std::mem::replace(&mut seen[id], true) {
            order.push(id);
            stack.extend(arena.op(id).children());
        }
    }
    work.spend(40 * order.len() as u64)?;
    order.sort_unstable();
    Ok(order)
}

/// The values of a graph at a point.
pub(super) struct Evaluation<'a> {
    arena: &'a Arena,
    plan: &'a EvaluationOrder,
    context: &'a Context<'a>,
    values: Vec<Option<Result<Value, Failure>>>,
    bound: [i64; 16],
    active: u32,
}

impl<'a> Evaluation<'a> {
    /// Evaluates every node of the plan. Fails only if the budget is exhausted.
    pub(super) fn run(
        arena: &'a Arena,
        plan: &'a EvaluationOrder,
        context: &'a Context<'a>,
        work: &mut Work,
    ) -> Result<Evaluation<'a>, Failure> {
        let values = vec![None; arena.len()];
        let mut evaluation = Evaluation { arena, plan, context, values, bound: [0; 16], active: 0 };
        work.spend(arena.len() as u64)?;
        evaluation.all(&plan.order, work)?;
        Ok(evaluation)
    }

    /// The value of a node.
    pub(super) fn value(&self, id: Id) -> Result<&Value, Failure> {
        match &self.values[id] {
            Some(Ok(value)) => Ok(value),
            Some(Err(failure)) => Err(*failure),
            None => Err(Failure::Limit),
        }
    }

    fn all(&mut self, ids: &[Id], work: &mut Work) -> Result<(), Failure> {
        for &id in ids {
            if self.arena.bound(id) & !self.active != 0 {
                continue;
            }
            work.spend(self.cost(self.arena.op(id)))?;
            let value = self.node(id, work);
            if work.left() == 0 {
                return Err(Failure::Limit);
            }
            self.values[id] = Some(value);
        }
        Ok(())
    }

    /// The approximate cost of a node whose children have values.
    fn cost(&self, op: &Op) -> u64 {
        let p = self.context.p;
        let m = multiplication(p);
        let value = |id: Id| self.value(id).ok().map(|v| &v.z);
        let function = |id: Id| match value(id) {
            // Large angles and small results need more bits; complex values need several real functions.
            Some(z) if z.is_real() => elementary(p + z.re.upper().log2().saturating_abs().min(2048)),
            Some(z) => 5 * elementary(p + z.upper().log2().saturating_abs().min(2048)),
            None => 0,
        };
        match op {
            Op::Rational(_) | Op::Pi | Op::I | Op::Variable(_) | Op::Bound(_) => m + 300,
            Op::Add(_, ids) => 300 * (ids.len() as u64 + 1),
            Op::Mul(_, ids) => 3 * m * (ids.len() as u64 + 1),
            Op::Pow(base, exponent) => match self.arena.rational_value(*exponent).map(small_ratio) {
                Some(Some((n, 1))) => m * 5 * u64::from(65 - n.unsigned_abs().leading_zeros()),
                Some(Some((_, 2))) if value(*base).is_some_and(Complex::is_real) => 25 * m,
                Some(Some((_, k))) if k <= 16 => function(*base) + 20 * multiplication(p * i64::from(k)),
                _ => 2 * function(*base),
            },
            Op::Call(Function::Factorial | Function::Binomial | Function::DoubleFactorial, _) => 2000,
            Op::Call(
                Function::Abs
                | Function::Min
                | Function::Max
                | Function::Floor
                | Function::Sgn
                | Function::Re
                | Function::Im
                | Function::Gcd
                | Function::Lcm
                | Function::Mod,
                ids,
            ) => 25 * m * (ids.len() as u64 + 1),
            Op::Call(_, ids) => ids.first().map_or(0, |&id| function(id)),
            Op::Det(n, _) => (*n as u64) * (1 << n) * 3 * m,
            Op::Series { .. } => 1000,
        }
    }

    fn node(&mut self, id: Id, work: &mut Work) -> Result<Value, Failure> {
        if let Op::Series { product, slot, from, to, .. } = *self.arena.op(id) {
            return self.series(id, product, slot, from, to, work);
        }
        let op = self.arena.op(id);
        let z = self.compute(op)?.checked()?;
        let mut real = z.is_real();
        for child in op.children() {
            real &= self.value(child)?.real;
        }
        Ok(Value { z, real })
    }

    fn z(&self, id: Id) -> Result<&Complex, Failure> {
        Ok(&self.value(id)?.z)
    }

    fn compute(&self, op: &Op) -> Result<Complex, Failure> {
        let p = self.context.p;
        Ok(match op {
            Op::Rational(r) => Complex::real(Ball::rational(r, p)),
            Op::Pi => Complex::real(super::elementary::pi(p)?),
            Op::I => Complex::i(),
            Op::Variable(index) => {
                Complex::real(Ball::rational(self.context.point.get(*index).ok_or(Failure::Limit)?, p))
            }
            Op::Bound(slot) => Complex::real(Ball::integer(self.bound[*slot])),
            Op::Add(c, ids) => {
                let mut sum = Complex::real(Ball::rational(c, p));
                for &id in ids {
                    sum = sum.add(self.z(id)?, p);
                }
                sum
            }
            Op::Mul(c, ids) => {
                let mut product = Complex::real(Ball::rational(c, p));
                for &id in ids {
                    product = product.mul(self.z(id)?, p).checked()?;
                }
                product
            }
            Op::Pow(base, exponent) => {
                self.z(*base)?.pow(self.z(*exponent)?, self.arena.rational_value(*exponent), p)?
            }
            Op::Call(f, ids) => self.call(*f, ids)?,
            Op::Det(n, ids) => self.determinant(*n, ids)?,
            Op::Series { .. } => return Err(Failure::Limit),
        })
    }

    fn call(&self, f: Function, ids: &[Id]) -> Result<Complex, Failure> {
        use Function as F;
        let p = self.context.p;
        let x = self.z(*ids.first().ok_or(Failure::Limit)?)?;
        Ok(match f {
            F::Sin => x.sin(p)?,
            F::Cos => x.cos(p)?,
            F::Exp => x.exp(p)?,
            F::Ln => x.ln(p)?,
            F::Log => {
                let ln = x.ln(p)?;
                if self.context.log10 { ln.div(&Complex::real(Ball::integer(10)).ln(p)?, p)? } else { ln }
            }
            F::Arcsin => x.asin(p)?,
            F::Arctan => x.atan(p)?,
            F::Arsinh => x.asinh(p)?,
            F::Arcosh => x.acosh(p)?,
            F::Artanh => x.atanh(p)?,
            F::Abs => Complex::real(x.abs(p)),
            F::Re => Complex::real(x.re.clone()),
            F::Im => Complex::real(x.im.clone()),
            F::Arg => Complex::real(x.arg(p)?),
            F::Sgn => x.signum()?,
            F::Floor => Complex::real(Ball::integer(x.to_real()?.floor().ok_or(Failure::Unclear)?)),
            F::Min | F::Max => self.extreme(ids, f == F::Max)?,
            F::Factorial | F::DoubleFactorial | F::Binomial | F::Gcd | F::Lcm | F::Mod => self.arithmetic(f, ids)?,
            _ => return Err(Failure::Limit),
        })
    }

    /// The minimum or maximum. Joins values that cannot be separated.
    fn extreme(&self, ids: &[Id], greatest: bool) -> Result<Complex, Failure> {
        let p = self.context.p;
        let mut best: Option<Ball> = None;
        for &id in ids {
            let x = self.z(id)?.to_real()?;
            best = Some(match best {
                None => x.clone(),
                Some(best) => {
                    let difference = x.sub(&best, p);
                    match difference.sign() {
                        Some(sign) if (sign == Ordering::Greater) == greatest => x.clone(),
                        Some(_) => best,
                        // max(a, b) is between a and a + (b − a).
                        None => best.widen(difference.upper()),
                    }
                }
            });
        }
        best.map(Complex::real).ok_or(Failure::Limit)
    }

    /// Evaluates functions of integers, and mod of exact numbers.
    fn arithmetic(&self, f: Function, ids: &[Id]) -> Result<Complex, Failure> {
        // The cost of the node covers numbers of this size.
        let mut work = Work::new(200_000);
        let mut values = Vec::with_capacity(ids.len());
        for &id in ids {
            let x = self.z(id)?.to_real()?;
            values.push(integer(x.to_integer().ok_or(Failure::Unclear)?));
        }
        let n = values[0].to_integer();
        let small = |n: &BigInt| n.to_u64().filter(|&n| n <= 1000).ok_or(Failure::Limit);
        let value = match f {
            Function::Factorial if n.is_negative() => return Err(Failure::Undefined),
            Function::Factorial => rational::factorial(small(&n)?, 1, &mut work)?,
            Function::DoubleFactorial if n.is_negative() => return Err(Failure::Undefined),
            Function::DoubleFactorial => rational::factorial(small(&n)?.max(1), 2, &mut work)?,
            Function::Binomial => {
                let k = values[1].to_integer();
                if k.is_negative() { integer(0) } else { rational::binomial(&values[0], small(&k)?, &mut work)? }
            }
            Function::Gcd | Function::Lcm => rational::gcd_lcm(&values, f == Function::Lcm, &mut work)?,
            _ => rational::modulo(&values[0], &values[1], &mut work)?,
        };
        Ok(Complex::real(Ball::rational(&value, self.context.p)))
    }

    /// Laplace expansion over sets of columns, without divisions.
    fn determinant(&self, n: usize, ids: &[Id]) -> Result<Complex, Failure> {
        let p = self.context.p;
        let mut minors = vec![Complex::zero(); 1 << n];
        minors[0] = Complex::one();
        for set in 1usize..1 << n {
            let row = set.count_ones() as usize - 1;
            let mut sum = Complex::zero();
            for (position, column) in (0..n).filter(|c| set & (1 << c) != 0).enumerate() {
                let term = self.z(ids[row * n + column])?.mul(&minors[set & !(1 << column)], p).checked()?;
                sum = if (row + position).is_multiple_of(2) { sum.add(&term, p) } else { sum.sub(&term, p) };
            }
            minors[set] = sum;
        }
        minors.pop().ok_or(Failure::Limit)
    }

    fn series(
        &mut self,
        id: Id,
        product: bool,
        slot: usize,
        from: Id,
        to: Id,
        work: &mut Work,
    ) -> Result<Value, Failure> {
        let p = self.context.p;
        let limit = |x: &Value| -> Result<i64, Failure> {
            let n = x.z.to_real()?.to_integer().ok_or(Failure::Unclear)?;
            n.to_i64().ok_or(Failure::Limit)
        };
        let (first, last) = (limit(self.value(from)?)?, limit(self.value(to)?)?);
        if last.saturating_sub(first) >= MAX_TERMS {
            return Err(Failure::Limit);
        }
        let Op::Series { term, .. } = *self.arena.op(id) else { return Err(Failure::Limit) };
        let plan = self.plan;
        let body = plan.bodies.get(&id).ok_or(Failure::Limit)?;
        let mut result = if product { Complex::one() } else { Complex::zero() };
        let mut real = true;
        for k in first..=last {
            self.bound[slot] = k;
            self.active |= 1 << slot;
            let done = self.all(body, work);
            self.active &= !(1 << slot);
            done?;
            let value = self.value(term)?;
            real &= value.real;
            result = if product { result.mul(&value.z, p).checked()? } else { result.add(&value.z, p).checked()? };
        }
        Ok(Value { real: real && result.is_real(), z: result })
    }
}

/// The approximate cost of an elementary function.
fn elementary(p: i64) -> u64 {
    let m = multiplication(p);
    4 * p.unsigned_abs().isqrt() * (m / 2 + 60) + 30 * m
}
