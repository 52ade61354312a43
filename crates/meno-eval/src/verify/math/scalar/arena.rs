//! Expressions as a directed acyclic graph without duplicates, in a normal form.
//!
//! Equal subexpressions share a node, and a node comes after its children. Constructors apply identities that hold for
//! all complex values (or check the conditions first): rational arithmetic, collecting like terms and powers, radicals
//! and logarithms of rationals over primes, powers of e, special angles. Therefore expressions with the same node are
//! equal. A term or factor that cancels stays with coefficient or exponent 0, unless it is certainly defined and
//! nonzero.

mod powers;
mod products;

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, Zero};

use super::super::tree::{Expr, Function};
use super::rational::{self, integer};
use super::work::{Failure, Work};

/// The index of a node in an [`Arena`].
pub(super) type Id = usize;

/// Maximum number of nodes in an arena.
const MAX_NODES: usize = 20_000;

#[derive(Clone, Debug)]
pub(super) enum Op {
    Rational(BigRational),
    Pi,
    I,
    /// A free variable, by index.
    Variable(usize),
    /// A bound variable, by nesting depth.
    Bound(usize),
    /// A constant and the sorted terms.
    Add(BigRational, Vec<Id>),
    /// A coefficient and the sorted factors.
    Mul(BigRational, Vec<Id>),
    /// Base and exponent; also represents roots and quotients.
    Pow(Id, Id),
    /// A function that no constructor rewrites.
    Call(Function, Vec<Id>),
    /// The determinant of a square matrix.
    Det(usize, Vec<Id>),
    /// A sum or product over a bound variable.
    Series {
        product: bool,
        slot: usize,
        from: Id,
        to: Id,
        term: Id,
    },
}

/// `Ratio` compares and hashes recursively with continued fractions: numbers with thousands of digits would overflow
/// the stack.
fn digits(r: &BigRational) -> (&BigInt, &BigInt) {
    (r.numer(), r.denom())
}

impl PartialEq for Op {
    fn eq(&self, other: &Op) -> bool {
        match (self, other) {
            (Op::Rational(a), Op::Rational(b)) => digits(a) == digits(b),
            (Op::Add(a, x), Op::Add(b, y)) | (Op::Mul(a, x), Op::Mul(b, y)) => x == y && digits(a) == digits(b),
            (Op::Pi, Op::Pi) | (Op::I, Op::I) => true,
            (Op::Variable(a), Op::Variable(b)) | (Op::Bound(a), Op::Bound(b)) => a == b,
            (Op::Pow(a, x), Op::Pow(b, y)) => (a, x) == (b, y),
            (Op::Call(f, x), Op::Call(g, y)) => f == g && x == y,
            (Op::Det(n, x), Op::Det(m, y)) => n == m && x == y,
            (
                Op::Series { product, slot, from, to, term },
                Op::Series { product: p, slot: s, from: f, to: t, term: e },
            ) => (product, slot, from, to, term) == (p, s, f, t, e),
            _ => false,
        }
    }
}

impl Eq for Op {}

impl Hash for Op {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Op::Rational(r) => digits(r).hash(state),
            Op::Add(r, ids) | Op::Mul(r, ids) => (digits(r), ids).hash(state),
            Op::Pi | Op::I => {}
            Op::Variable(n) | Op::Bound(n) => n.hash(state),
            Op::Pow(a, b) => (a, b).hash(state),
            Op::Call(f, ids) => (f, ids).hash(state),
            Op::Det(n, ids) => (n, ids).hash(state),
            Op::Series { product, slot, from, to, term } => (product, slot, from, to, term).hash(state),
        }
    }
}

impl Op {
    pub(super) fn children(&self) -> Vec<Id> {
        match self {
            Op::Rational(_) | Op::Pi | Op::I | Op::Variable(_) | Op::Bound(_) => Vec::new(),
            Op::Add(_, ids) | Op::Mul(_, ids) | Op::Call(_, ids) | Op::Det(_, ids) => ids.clone(),
            Op::Pow(a, b) => vec![*a, *b],
            Op::Series { from, to, term, .. } => vec![*from, *to, *term],
        }
    }
}

/// The meaning of a free variable.
#[derive(Clone, Debug)]
pub(super) enum Atom {
    Symbol(String),
    /// An unknown function with its arguments.
    Apply(String, Vec<Id>),
    /// Something without arithmetic meaning, equal only to itself.
    Opaque(Expr),
}

/// Known properties of a node.
#[derive(Clone, Copy, Debug, Default)]
struct NodeFacts {
    /// True if certainly a positive real constant.
    positive: bool,
    /// True if certainly defined and nonzero.
    nonzero: bool,
    /// True if certainly a defined real constant.
    real: bool,
    /// The bound variables in the node, one bit each.
    bound: u32,
}

/// A graph of expressions.
#[derive(Debug, Default)]
pub(super) struct Arena {
    ops: Vec<Op>,
    facts: Vec<NodeFacts>,
    index: HashMap<Op, Id>,
    pub(super) atoms: Vec<Atom>,
    /// True if two different variables may be equal. "Different" verdicts then become undecided.
    pub(super) loose: bool,
}

/// A new node, or the reason for failure.
pub(super) type NodeResult = Result<Id, Failure>;

impl Arena {
    pub(super) fn op(&self, id: Id) -> &Op {
        &self.ops[id]
    }

    pub(super) fn len(&self) -> usize {
        self.ops.len()
    }

    /// The bound variables in a node, one bit each.
    pub(super) fn bound(&self, id: Id) -> u32 {
        self.facts[id].bound
    }

    pub(super) fn is_positive(&self, id: Id) -> bool {
        self.facts[id].positive
    }

    /// True if certainly a defined real constant.
    pub(super) fn is_real(&self, id: Id) -> bool {
        self.facts[id].real
    }

    pub(super) fn rational_value(&self, id: Id) -> Option<&BigRational> {
        if let Op::Rational(r) = self.op(id) { Some(r) } else { None }
    }

    fn integer_value(&self, id: Id) -> Option<&BigInt> {
        self.rational_value(id).filter(|r| r.denom().is_one()).map(BigRational::numer)
    }

    pub(super) fn intern(&mut self, op: Op, work: &mut Work) -> NodeResult {
        work.spend(500)?;
        if let Some(&id) = self.index.get(&op) {
            return Ok(id);
        }
        if self.ops.len() >= MAX_NODES {
            return Err(Failure::Limit);
        }
        let facts = self.facts_of(&op);
        let id = self.ops.len();
        self.ops.push(op.clone());
        self.facts.push(facts);
        self.index.insert(op, id);
        Ok(id)
    }

    /// Removes all nodes except the first `len`.
    pub(super) fn truncate(&mut self, len: usize) {
        for op in self.ops.drain(len..) {
            self.index.remove(&op);
        }
        self.facts.truncate(len);
    }

    fn facts_of(&self, op: &Op) -> NodeFacts {
        let mut bound = op.children().iter().fold(0, |mask, &id| mask | self.facts[id].bound);
        if let Op::Series { slot, from, to, term, .. } = op {
            bound = self.facts[*from].bound
                | self.facts[*to].bound
                | (self.facts[*term].bound & !(1u32.checked_shl(*slot as u32).unwrap_or(0)));
        }
        let all = |ids: &[Id], fact: fn(&NodeFacts) -> bool| ids.iter().all(|&id| fact(&self.facts[id]));
        let (positive, nonzero, real) = match op {
            Op::Rational(r) => (r.is_positive(), !r.is_zero(), true),
            Op::Pi => (true, true, true),
            Op::I => (false, true, false),
            Op::Bound(slot) => {
                bound = 1u32.checked_shl(*slot as u32).unwrap_or(0);
                (false, false, false)
            }
            Op::Add(c, ids) => {
                let positive = !c.is_negative() && all(ids, |f| f.positive);
                (positive, positive, all(ids, |f| f.real))
            }
            Op::Mul(c, ids) => (
                c.is_positive() && all(ids, |f| f.positive),
                !c.is_zero() && all(ids, |f| f.nonzero),
                all(ids, |f| f.real),
            ),
            Op::Pow(base, exponent) => {
                let positive = self.facts[*base].positive && self.facts[*exponent].real;
                let integer = self.integer_value(*exponent).is_some();
                (positive, positive || (integer && self.facts[*base].nonzero), positive)
            }
            Op::Call(Function::Exp, args) => {
                let real = all(args, |f| f.real);
                (real, real, real)
            }
            Op::Call(Function::Ln | Function::Log, args) => {
                let above_one = self.rational_value(args[0]).is_some_and(|r| *r > BigRational::one());
                (above_one, above_one, all(args, |f| f.positive))
            }
            Op::Call(Function::Sin | Function::Cos | Function::Arctan, args) => (false, false, all(args, |f| f.real)),
            _ => (false, false, false),
        };
        NodeFacts { positive, nonzero, real, bound }
    }

    pub(super) fn rational(&mut self, r: BigRational, work: &mut Work) -> NodeResult {
        if r.numer().bits().max(r.denom().bits()) > rational::MAX_BITS {
            return Err(Failure::Limit);
        }
        self.intern(Op::Rational(r), work)
    }

    pub(super) fn int(&mut self, n: i64, work: &mut Work) -> NodeResult {
        self.rational(integer(n), work)
    }

    /// The coefficient and the remaining factors of a term.
    pub(super) fn split(&self, id: Id) -> (BigRational, Vec<Id>) {
        match self.op(id) {
            Op::Rational(r) => (r.clone(), Vec::new()),
            Op::Mul(c, ids) => (c.clone(), ids.clone()),
            _ => (BigRational::one(), vec![id]),
        }
    }

    pub(super) fn add(&mut self, ids: &[Id], work: &mut Work) -> NodeResult {
        let mut constant = BigRational::zero();
        let mut order: Vec<Vec<Id>> = Vec::new();
        let mut terms: HashMap<Vec<Id>, BigRational> = HashMap::new();
        let mut stack: Vec<Id> = ids.iter().rev().copied().collect();
        while let Some(id) = stack.pop() {
            work.spend(100)?;
            if let Op::Add(c, inner) = self.op(id) {
                constant = rational::add(&constant, c, work)?;
                stack.extend(inner);
                continue;
            }
            let (c, core) = self.split(id);
            if core.is_empty() {
                constant = rational::add(&constant, &c, work)?;
            } else if let Some(sum) = terms.get_mut(&core) {
                *sum = rational::add(sum, &c, work)?;
            } else {
                terms.insert(core.clone(), c);
                order.push(core);
            }
        }
        let mut sum = Vec::with_capacity(order.len());
        for core in order {
            let c = terms.remove(&core).unwrap_or_default();
            if c.is_zero() && core.iter().all(|&id| self.facts[id].nonzero) {
                continue;
            }
            let id = self.product(c, core, work)?;
            if self.rational_value(id).is_none() {
                sum.push(id);
            }
        }
        sum.sort_unstable();
        match (sum.as_slice(), constant.is_zero()) {
            ([], _) => self.rational(constant, work),
            ([id], true) => Ok(*id),
            _ => self.intern(Op::Add(constant, sum), work),
        }
    }

    pub(super) fn sub(&mut self, a: Id, b: Id, work: &mut Work) -> NodeResult {
        let negative = self.scale(&integer(-1), b, work)?;
        self.add(&[a, negative], work)
    }

    /// c·x
    pub(super) fn scale(&mut self, c: &BigRational, id: Id, work: &mut Work) -> NodeResult {
        let c = self.rational(c.clone(), work)?;
        self.mul(&[c, id], work)
    }
}
