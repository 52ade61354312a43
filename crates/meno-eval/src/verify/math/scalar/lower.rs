//! From the typed tree to the graph.

use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::super::compare::counted;
use super::super::tree::{Constant, Expr, Function, Series};
use super::arena::{Arena, Atom, Id, Op};
use super::complex::small_integer;
use super::rational::{self, integer, ratio};
use super::work::{Failure, Work};
use super::{Equality, decide};

/// Deepest expression.
const MAX_DEPTH: usize = 200;
/// Sums and products with this many terms are written out.
const MAX_WRITTEN_OUT: i64 = 256;
/// Sums and products with this many terms are computed, if every term is rational.
const MAX_TERMS: i64 = 10_000;
/// `\binom{n}{k}` is a polynomial in n up to this k.
const MAX_BINOMIAL: u64 = 12;
/// Determinants have at most this many rows.
const MAX_ROWS: usize = 6;

/// Bound variables in scope and the depth of the recursion.
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
        // A bound that is a number but no integer has no meaning.
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

    /// An infinite geometric series whose quotient is a rational number below 1: first/(1 − quotient).
    fn geometric(&mut self, arena: &mut Arena, s: &Series, work: &mut Work) -> Result<Id, Failure> {
        let from = self.lower(arena, &s.from, work)?;
        let first = arena.rational_value(from).and_then(small_integer).ok_or(Failure::Limit)?;
        // A whole number that no letter of the answer names.
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

/// A known function of nodes.
pub(super) fn apply_function(arena: &mut Arena, f: Function, ids: Vec<Id>, work: &mut Work) -> Result<Id, Failure> {
    match (f, ids.as_slice()) {
        (Function::LogBase, &[base, x]) => {
            let (x, base) = (arena.ln(Function::Ln, x, work)?, arena.ln(Function::Ln, base, work)?);
            arena.div(x, base, work)
        }
        (Function::Binomial, &[n, k]) => binomial(arena, n, k, work),
        (Function::Mod, &[_, _]) => folded(arena, f, ids, work),
        (Function::Gcd | Function::Lcm | Function::Min | Function::Max, [_, ..]) => folded(arena, f, ids, work),
        (_, &[x]) => unary(arena, f, x, work),
        _ => Err(Failure::Limit),
    }
}

/// The variable of a known or a new atom.
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

/// An unknown function of arguments: the same variable as before if the arguments are equal.
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
        // Even at different arguments a function can have the same value.
        match verdict {
            Equality::Equal => known = known.or(Some(index)),
            Equality::Different | Equality::Undecided => arena.loose = true,
        }
    }
    variable(arena, known, || Atom::Apply(name.to_owned(), args), work)
}

/// Something without arithmetic meaning.
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

/// 1/0
fn undefined(arena: &mut Arena, work: &mut Work) -> Result<Id, Failure> {
    let zero = arena.int(0, work)?;
    arena.inverse(zero, work)
}

fn half_pi_minus(arena: &mut Arena, x: Id, work: &mut Work) -> Result<Id, Failure> {
    let pi = arena.intern(Op::Pi, work)?;
    let half = arena.scale(&ratio(1, 2), pi, work)?;
    arena.sub(half, x, work)
}

fn unary(arena: &mut Arena, f: Function, x: Id, work: &mut Work) -> Result<Id, Failure> {
    use Function as F;
    match f {
        F::Sin => arena.sin(x, work),
        F::Cos => arena.cos(x, work),
        F::Tan | F::Cot => {
            let (sin, cos) = (arena.sin(x, work)?, arena.cos(x, work)?);
            if f == F::Tan { arena.div(sin, cos, work) } else { arena.div(cos, sin, work) }
        }
        F::Sec | F::Csc => {
            let value = if f == F::Sec { arena.cos(x, work)? } else { arena.sin(x, work)? };
            arena.inverse(value, work)
        }
        F::Arcsin | F::Arctan => inverse_trigonometric(arena, f, x, work),
        F::Arccos | F::Arccot => {
            let value = unary(arena, if f == F::Arccos { F::Arcsin } else { F::Arctan }, x, work)?;
            half_pi_minus(arena, value, work)
        }
        F::Arcsec | F::Arccsc => {
            let inverse = arena.inverse(x, work)?;
            unary(arena, if f == F::Arcsec { F::Arccos } else { F::Arcsin }, inverse, work)
        }
        F::Sinh | F::Cosh | F::Tanh | F::Coth | F::Sech | F::Csch => hyperbolic(arena, f, x, work),
        F::Exp => arena.exp(x, work),
        F::Ln | F::Log => arena.ln(f, x, work),
        F::Abs => absolute(arena, x, work),
        F::Ceil => {
            let negative = arena.scale(&integer(-1), x, work)?;
            let floor = folded(arena, F::Floor, vec![negative], work)?;
            arena.scale(&integer(-1), floor, work)
        }
        F::Gamma => {
            let below = arena.int(-1, work)?;
            let x = arena.add(&[x, below], work)?;
            factorial(arena, x, work)
        }
        F::Factorial => factorial(arena, x, work),
        F::Arsinh | F::Arcosh | F::Artanh | F::Arg => arena.intern(Op::Call(f, vec![x]), work),
        F::Floor | F::DoubleFactorial | F::Sgn | F::Re | F::Im => folded(arena, f, vec![x], work),
        _ => Err(Failure::Limit),
    }
}

fn inverse_trigonometric(arena: &mut Arena, f: Function, x: Id, work: &mut Work) -> Result<Id, Failure> {
    let special = arena.rational_value(x).and_then(|r| {
        let doubled = small_integer(&(r * integer(2)))?;
        match (f, doubled) {
            (_, 0) => Some(integer(0)),
            (Function::Arctan, 2 | -2) => Some(ratio(doubled, 8)),
            (Function::Arcsin, 1 | -1) => Some(ratio(doubled, 6)),
            (Function::Arcsin, 2 | -2) => Some(ratio(doubled, 4)),
            _ => None,
        }
    });
    match special {
        Some(r) => {
            let pi = arena.intern(Op::Pi, work)?;
            arena.scale(&r, pi, work)
        }
        None => arena.intern(Op::Call(f, vec![x]), work),
    }
}

fn hyperbolic(arena: &mut Arena, f: Function, x: Id, work: &mut Work) -> Result<Id, Failure> {
    let negative = arena.scale(&integer(-1), x, work)?;
    let (up, down) = (arena.exp(x, work)?, arena.exp(negative, work)?);
    let (minus, plus) = (arena.sub(up, down, work)?, arena.add(&[up, down], work)?);
    let two = arena.int(2, work)?;
    match f {
        Function::Sinh => arena.div(minus, two, work),
        Function::Cosh => arena.div(plus, two, work),
        Function::Tanh => arena.div(minus, plus, work),
        Function::Coth => arena.div(plus, minus, work),
        Function::Sech => arena.div(two, plus, work),
        _ => arena.div(two, minus, work),
    }
}

fn absolute(arena: &mut Arena, x: Id, work: &mut Work) -> Result<Id, Failure> {
    if arena.is_positive(x) {
        return Ok(x);
    }
    match arena.op(x).clone() {
        Op::Rational(r) => arena.rational(r.abs(), work),
        Op::Mul(c, factors) if !c.is_zero() && !c.is_one() => {
            let one = arena.int(1, work)?;
            let mut core = vec![one];
            core.extend(factors);
            let core = arena.mul(&core, work)?;
            let core = absolute(arena, core, work)?;
            arena.scale(&c.abs(), core, work)
        }
        _ => arena.intern(Op::Call(Function::Abs, vec![x]), work),
    }
}

fn factorial(arena: &mut Arena, x: Id, work: &mut Work) -> Result<Id, Failure> {
    let Some(r) = arena.rational_value(x).cloned() else {
        return arena.intern(Op::Call(Function::Factorial, vec![x]), work);
    };
    if r.denom().is_one() {
        if r.is_negative() {
            return undefined(arena, work);
        }
        let value = rational::factorial(r.to_integer().to_u64().ok_or(Failure::Limit)?, 1, work)?;
        return arena.rational(value, work);
    }
    // (k/2)! = (k/2)((k−2)/2)…(1/2) √π for odd k, and downwards for negative k.
    let k = small_integer(&(&r * integer(2))).filter(|k| k.is_odd() && k.abs() < 2000).ok_or(Failure::Limit)?;
    let mut value = BigRational::one();
    let mut j = k;
    while j > 0 {
        value = rational::mul(&value, &ratio(j, 2), work)?;
        j -= 2;
    }
    while j < -1 {
        value = rational::mul(&value, &ratio(2, j + 2), work)?;
        j += 2;
    }
    let pi = arena.intern(Op::Pi, work)?;
    let half = arena.rational(ratio(1, 2), work)?;
    let root = arena.pow(pi, half, work)?;
    arena.scale(&value, root, work)
}

fn binomial(arena: &mut Arena, n: Id, k: Id, work: &mut Work) -> Result<Id, Failure> {
    let literal = arena.rational_value(k).cloned();
    let Some(k_value) = literal.as_ref().filter(|k| k.denom().is_one()) else {
        return arena.intern(Op::Call(Function::Binomial, vec![n, k]), work);
    };
    if k_value.is_negative() {
        return arena.int(0, work);
    }
    if let Some(r) = arena.rational_value(n).cloned() {
        // A large k of an integer n is small from the other side.
        let k = k_value.to_integer().to_u64().ok_or(Failure::Limit)?;
        let value = rational::binomial(&r, k, work)?;
        return arena.rational(value, work);
    }
    match k_value.to_integer().to_u64() {
        Some(k) if k <= MAX_BINOMIAL => {
            let mut factors = vec![arena.int(1, work)?];
            for j in 0..k {
                let minus = arena.int(-(j as i64), work)?;
                let factor = arena.add(&[n, minus], work)?;
                factors.push(arena.scale(&ratio(1, j as i64 + 1), factor, work)?);
            }
            arena.mul(&factors, work)
        }
        _ => arena.intern(Op::Call(Function::Binomial, vec![n, k]), work),
    }
}

/// A function that is computed for rational arguments and else kept.
fn folded(arena: &mut Arena, f: Function, mut ids: Vec<Id>, work: &mut Work) -> Result<Id, Failure> {
    let values: Option<Vec<BigRational>> = ids.iter().map(|&id| arena.rational_value(id).cloned()).collect();
    if let Some(values) = values {
        let value = match fold(f, &values, work) {
            Err(Failure::Undefined) => return undefined(arena, work),
            value => value?,
        };
        return arena.rational(value, work);
    }
    // ⌊x + 5/2⌋ is ⌊x + 1/2⌋ + 2.
    if f == Function::Floor
        && let Op::Add(c, terms) = arena.op(ids[0]).clone()
        && !c.floor().is_zero()
    {
        let mut terms = terms;
        terms.push(arena.rational(&c - c.floor(), work)?);
        let inside = arena.add(&terms, work)?;
        let floor = folded(arena, f, vec![inside], work)?;
        let whole = arena.rational(c.floor(), work)?;
        return arena.add(&[floor, whole], work);
    }
    if matches!(f, Function::Gcd | Function::Lcm | Function::Min | Function::Max) {
        ids.sort_unstable();
        ids.dedup();
        if ids.len() == 1 && matches!(f, Function::Min | Function::Max) {
            return Ok(ids[0]);
        }
    }
    arena.intern(Op::Call(f, ids), work)
}

fn fold(f: Function, values: &[BigRational], work: &mut Work) -> Result<BigRational, Failure> {
    let first = values.first().ok_or(Failure::Limit)?;
    work.spend(values.iter().map(|v| rational::bits(v) + 50).sum())?;
    Ok(match f {
        Function::Floor => {
            work.multiply(rational::bits(first) as i64, 4)?;
            first.floor()
        }
        Function::DoubleFactorial => {
            let n = small_integer(first).ok_or(Failure::Undefined)?;
            match n {
                -1 | 0 => BigRational::one(),
                1.. => rational::factorial(n as u64, 2, work)?,
                _ => return Err(Failure::Undefined),
            }
        }
        Function::Sgn => first.signum(),
        Function::Re => first.clone(),
        Function::Im => BigRational::zero(),
        Function::Gcd | Function::Lcm => rational::gcd_lcm(values, f == Function::Lcm, work)?,
        Function::Mod => rational::modulo(first, &values[1], work)?,
        Function::Min => values.iter().min_by(|a, b| rational::order(a, b)).unwrap_or(first).clone(),
        Function::Max => values.iter().max_by(|a, b| rational::order(a, b)).unwrap_or(first).clone(),
        _ => return Err(Failure::Limit),
    })
}
