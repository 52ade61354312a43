//! Converts the typed tree to the graph.

use num_rational::BigRational;
use num_traits::{One, Signed, Zero};

use super::super::rewritten::counted;
use super::super::tree::{Constant, Expr, Function, Series};
use super::arena::{Arena, Atom, Id, Op};
use super::calls::apply_function;
use super::complex::small_integer;
use super::decide;
use super::equality::Equality;
use super::rational::{self, integer, ratio};
use super::work::{Failure, Work};

/// Maximum depth of an expression.
const MAX_DEPTH: usize = 200;
/// Sums and products with up to this many terms are written out.
const MAX_WRITTEN_OUT: i64 = 256;
/// Sums and products with up to this many terms are computed if every term is rational.
const MAX_TERMS: i64 = 10_000;
/// Maximum number of rows of a determinant.
const MAX_ROWS: usize = 6;

/// The bound variables in scope, and the recursion depth.
#[derive(Default)]
struct Scope {
    bound: Vec<(String, Id)>,
    slots: usize,
    depth: usize,
}

/// Adds an expression to the graph.
pub(super) fn lower(arena: &mut Arena, e: &Expr, work: &mut Work) -> Result<Id, Failure> {
    Scope::default().lower(arena, e, work)
}

impl Scope {
    fn lower(&mut self, arena: &mut Arena, e: &Expr, work: &mut Work) -> Result<Id, Failure> {
        if self.depth >= MAX_DEPTH {
            return Err(Failure::Limit);
        }
        work.spend(100)?;
        self.depth += 1;
        let result = self.lower_node(arena, e, work);
        self.depth -= 1;
        result
    }

    fn lower_all(&mut self, arena: &mut Arena, es: &[Expr], work: &mut Work) -> Result<Vec<Id>, Failure> {
        es.iter().map(|e| self.lower(arena, e, work)).collect()
    }

    fn lower_node(&mut self, arena: &mut Arena, e: &Expr, work: &mut Work) -> Result<Id, Failure> {
        match e {
            Expr::Number(n) => arena.rational(n.value.clone(), work),
            Expr::Based(n, _) => arena.rational(integer(n.clone()), work),
            Expr::Constant(Constant::Pi) => arena.intern(Op::Pi, work),
            Expr::Constant(Constant::I) => arena.intern(Op::I, work),
            Expr::Constant(Constant::E) => {
                let one = arena.int(1, work)?;
                arena.exp(one, work)
            }
            Expr::Constant(Constant::Infinity) => Err(Failure::Limit),
            Expr::Symbol(name) => self.symbol(arena, name, work),
            Expr::Add(es) => {
                let ids = self.lower_all(arena, es, work)?;
                arena.add(&ids, work)
            }
            Expr::Mul(es) => {
                let ids = self.lower_all(arena, es, work)?;
                arena.mul(&ids, work)
            }
            Expr::Neg(x) => self.scaled(arena, &integer(-1), x, work),
            Expr::Percent(x) => self.scaled(arena, &ratio(1, 100), x, work),
            Expr::Degrees(x) => {
                let x = self.scaled(arena, &ratio(1, 180), x, work)?;
                let pi = arena.intern(Op::Pi, work)?;
                arena.mul(&[x, pi], work)
            }
            Expr::Mixed(whole, fraction) => {
                let ids = [self.lower(arena, whole, work)?, self.lower(arena, fraction, work)?];
                arena.add(&ids, work)
            }
            Expr::Div(a, b) => {
                let (a, b) = (self.lower(arena, a, work)?, self.lower(arena, b, work)?);
                arena.div(a, b, work)
            }
            // C_{10}^3
            Expr::Pow(..) if counted(e).is_some() => arena.rational(integer(counted(e).unwrap_or_default()), work),
            Expr::Pow(a, b) => {
                let (a, b) = (self.lower(arena, a, work)?, self.lower(arena, b, work)?);
                arena.pow(a, b, work)
            }
            Expr::Root(degree, x) => {
                let (degree, x) = (self.lower(arena, degree, work)?, self.lower(arena, x, work)?);
                let exponent = arena.inverse(degree, work)?;
                arena.pow(x, exponent, work)
            }
            Expr::Call(f, args) => self.call(arena, *f, args, work),
            Expr::Apply(..) if counted(e).is_some() => arena.rational(integer(counted(e).unwrap_or_default()), work),
            Expr::Apply(name, args) => {
                let args = self.lower_all(arena, args, work)?;
                apply(arena, name, args, work)
            }
            Expr::Sum(series) => self.series(arena, series, false, work),
            Expr::Product(series) => self.series(arena, series, true, work),
            Expr::Opaque(_) | Expr::Sequence(_) => opaque(arena, e, work),
            _ => Err(Failure::Limit),
        }
    }

    fn scaled(&mut self, arena: &mut Arena, c: &BigRational, x: &Expr, work: &mut Work) -> Result<Id, Failure> {
        let x = self.lower(arena, x, work)?;
        arena.scale(c, x, work)
    }

    fn symbol(&mut self, arena: &mut Arena, name: &str, work: &mut Work) -> Result<Id, Failure> {
        if let Some((_, id)) = self.bound.iter().rev().find(|(bound, _)| bound == name) {
            return Ok(*id);
        }
        work.spend(20 * arena.atoms.len() as u64)?;
        let known = arena.atoms.iter().position(|a| matches!(a, Atom::Symbol(s) if s == name));
        variable(arena, known, || Atom::Symbol(name.to_owned()), work)
    }

    fn series(&mut self, arena: &mut Arena, s: &Series, product: bool, work: &mut Work) -> Result<Id, Failure> {
        if s.to == Expr::Constant(Constant::Infinity) && !product {
            return self.geometric(arena, s, work);
        }
        let (from, to) = (self.lower(arena, &s.from, work)?, self.lower(arena, &s.to, work)?);
        let literal = |id| arena.rational_value(id).and_then(small_integer);
        if let (Some(first), Some(last)) = (literal(from), literal(to)) {
            return self.written_out(arena, s, product, first, last, work);
        }
        // A bound that is a number but not an integer has no meaning.
        if [from, to].iter().any(|&id| arena.rational_value(id).is_some_and(|r| !r.denom().is_one())) || self.slots >= 8
        {
            return Err(Failure::Limit);
        }
        let slot = self.slots;
        let id = arena.intern(Op::Bound(slot), work)?;
        self.bound.push((s.variable.clone(), id));
        self.slots += 1;
        let term = self.lower(arena, &s.term, work);
        self.slots -= 1;
        self.bound.pop();
        arena.intern(Op::Series { product, slot, from, to, term: term? }, work)
    }

    /// An infinite geometric series with a rational quotient below 1: first/(1 − quotient).
    fn geometric(&mut self, arena: &mut Arena, s: &Series, work: &mut Work) -> Result<Id, Failure> {
        let from = self.lower(arena, &s.from, work)?;
        let first = arena.rational_value(from).and_then(small_integer).ok_or(Failure::Limit)?;
        // A whole-number variable that no letter of the answer uses.
        let index = arena.atoms.len();
        arena.atoms.push(Atom::Symbol(format!("\\index{index}")));
        let variable = arena.intern(Op::Variable(index), work)?;
        let one = arena.int(1, work)?;
        let next = arena.add(&[variable, one], work)?;
        let (start, second) = (arena.int(first, work)?, arena.int(first.checked_add(1).ok_or(Failure::Limit)?, work)?);
        let mut terms = Vec::with_capacity(4);
        for id in [start, second, variable, next] {
            self.bound.push((s.variable.clone(), id));
            let term = self.lower(arena, &s.term, work);
            self.bound.pop();
            terms.push(term?);
        }
        let quotient = arena.div(terms[1], terms[0], work)?;
        let below_one = arena.rational_value(quotient).is_some_and(|q| q.abs() < BigRational::one() && !q.is_zero());
        let scaled = arena.mul(&[quotient, terms[2]], work)?;
        if !below_one || decide::same(arena, scaled, terms[3], work) != Equality::Equal {
            return Err(Failure::Limit);
        }
        let rest = arena.sub(one, quotient, work)?;
        arena.div(terms[0], rest, work)
    }

    fn written_out(
        &mut self,
        arena: &mut Arena,
        s: &Series,
        product: bool,
        first: i64,
        last: i64,
        work: &mut Work,
    ) -> Result<Id, Failure> {
        let count = last.saturating_sub(first).saturating_add(1).max(0);
        if count > MAX_TERMS || first.checked_add(count).is_none() {
            return Err(Failure::Limit);
        }
        let mut exact = if product { BigRational::one() } else { BigRational::zero() };
        let mut rest = Vec::new();
        for k in first..first + count {
            let (nodes, atoms) = (arena.len(), arena.atoms.len());
            let id = arena.int(k, work)?;
            self.bound.push((s.variable.clone(), id));
            let term = self.lower(arena, &s.term, work);
            self.bound.pop();
            let term = term?;
            match arena.rational_value(term) {
                Some(r) if product => exact = rational::mul(&exact, r, work)?,
                Some(r) => exact = rational::add(&exact, r, work)?,
                None if count > MAX_WRITTEN_OUT => return Err(Failure::Limit),
                None => rest.push(term),
            }
            if arena.rational_value(term).is_some() && arena.atoms.len() == atoms {
                arena.truncate(nodes);
            }
        }
        rest.push(arena.rational(exact, work)?);
        if product { arena.mul(&rest, work) } else { arena.add(&rest, work) }
    }

    fn call(&mut self, arena: &mut Arena, f: Function, args: &[Expr], work: &mut Work) -> Result<Id, Failure> {
        if let (Function::Det | Function::Abs, [Expr::Matrix(rows)]) = (f, args) {
            let n = rows.len();
            if n == 0 || n > MAX_ROWS || rows.iter().any(|row| row.len() != n) {
                return Err(Failure::Limit);
            }
            let mut ids = Vec::with_capacity(n * n);
            for row in rows {
                ids.extend(self.lower_all(arena, row, work)?);
            }
            return arena.intern(Op::Det(n, ids), work);
        }
        let ids = self.lower_all(arena, args, work)?;
        apply_function(arena, f, ids, work)
    }
}

/// The variable of a known or new atom.
fn variable(
    arena: &mut Arena,
    known: Option<usize>,
    atom: impl FnOnce() -> Atom,
    work: &mut Work,
) -> Result<Id, Failure> {
    let index = known.unwrap_or_else(|| {
        arena.atoms.push(atom());
        arena.atoms.len() - 1
    });
    arena.intern(Op::Variable(index), work)
}

/// An unknown function call. If the arguments equal those of an earlier call, the variable is the same.
fn apply(arena: &mut Arena, name: &str, args: Vec<Id>, work: &mut Work) -> Result<Id, Failure> {
    if args.iter().any(|&id| arena.bound(id) != 0) {
        return Err(Failure::Limit);
    }
    let mut known = None;
    for index in 0..arena.atoms.len() {
        let Atom::Apply(other, others) = arena.atoms[index].clone() else { continue };
        if other != name || others.len() != args.len() {
            continue;
        }
        let mut verdict = Equality::Equal;
        for (&a, &b) in args.iter().zip(&others) {
            match decide::same(arena, a, b, work) {
                Equality::Equal => {}
                other => {
                    verdict = other;
                    break;
                }
            }
        }
        // A function can have the same value at different arguments.
        match verdict {
            Equality::Equal => known = known.or(Some(index)),
            Equality::Different | Equality::Undecided => arena.loose = true,
        }
    }
    variable(arena, known, || Atom::Apply(name.to_owned(), args), work)
}

/// A part without arithmetic meaning.
fn opaque(arena: &mut Arena, e: &Expr, work: &mut Work) -> Result<Id, Failure> {
    let mut known = None;
    for (index, atom) in arena.atoms.iter().enumerate() {
        if let Atom::Opaque(other) = atom {
            work.spend(1000)?;
            if other == e {
                known = Some(index);
            }
        }
    }
    if known.is_none() && arena.atoms.iter().any(|a| matches!(a, Atom::Opaque(_))) {
        arena.loose = true;
    }
    variable(arena, known, || Atom::Opaque(e.clone()), work)
}
