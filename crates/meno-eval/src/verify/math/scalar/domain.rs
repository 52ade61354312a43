//! Where nodes of a graph are defined, where they jump, and which variables must be integers.

use super::super::tree::Function;
use super::arena::{Arena, Atom, Id, Op};
use super::evaluate::{Context, Evaluation, EvaluationOrder, Value};
use super::rational::integer;
use super::work::{Failure, Work};

/// Maximum precision in bits.
pub(super) const MAX_PRECISION: i64 = 1 << 13;

/// Maximum precision for resolving a possible zero in a denominator, or a jump.
pub(super) const SINGULAR_PRECISION: i64 = 1 << 10;

/// The sum of |log2| of all intermediate values. It accounts for large numbers built from small ones.
pub(super) fn magnitude(arena: &Arena, plan: &EvaluationOrder, evaluation: &Evaluation<'_>) -> i64 {
    let mut sum = 0i64;
    for &id in plan.nodes() {
        if matches!(arena.op(id), Op::Rational(_)) {
            continue;
        }
        if let Ok(Value { z, .. }) = evaluation.value(id) {
            for part in [&z.re, &z.im] {
                if !part.contains_zero() {
                    sum += part.upper().log2().abs();
                }
            }
        }
    }
    sum
}

/// True if a node can be undefined although its children are defined.
pub(super) fn partial(arena: &Arena, id: Id) -> bool {
    match arena.op(id) {
        Op::Pow(_, exponent) => !arena.is_positive(*exponent),
        Op::Call(f, _) => !matches!(
            f,
            Function::Sin
                | Function::Cos
                | Function::Exp
                | Function::Abs
                | Function::Floor
                | Function::Re
                | Function::Im
                | Function::Min
                | Function::Max
                | Function::Arcsin
                | Function::Arsinh
                | Function::Arcosh
                | Function::Sgn
        ),
        Op::Series { .. } => true,
        _ => false,
    }
}

/// True if a constant has a value, as far as the precision shows. What is too large to evaluate counts as defined.
pub(super) fn defined(arena: &Arena, id: Id, work: &mut Work) -> Result<bool, Failure> {
    let plan = EvaluationOrder::new(arena, &[id], work)?;
    if arena.is_real(id) || !plan.nodes().iter().any(|&id| partial(arena, id)) {
        return Ok(true);
    }
    for p in [64, 256, SINGULAR_PRECISION] {
        let context = Context { point: &[], log10: false, p };
        match Evaluation::run(arena, &plan, &context, work)?.value(id) {
            Ok(_) | Err(Failure::Limit) => return Ok(true),
            Err(Failure::Undefined) => return Ok(false),
            Err(Failure::Unclear) if p == SINGULAR_PRECISION => return Ok(true),
            Err(_) => {}
        }
    }
    Ok(false)
}

/// Marks variables in positions where only integers make sense: factorials, binomials, gcd, lcm and mod, bounds of
/// sums, exponents of negative numbers and of i; n, m and k also in ⌊n/2⌋.
pub(super) fn integer_variables(arena: &Arena, plan: &EvaluationOrder, work: &mut Work) -> Result<Vec<bool>, Failure> {
    let mut marked = vec![false; arena.atoms.len()];
    for &id in plan.nodes() {
        let inside = match arena.op(id) {
            Op::Call(Function::Floor, args) if !matches!(arena.op(args[0]), Op::Variable(_)) => {
                let below = EvaluationOrder::new(arena, args, work)?;
                for &id in below.nodes() {
                    if let Op::Variable(index) = arena.op(id) {
                        marked[*index] |= is_whole_name(arena, *index);
                    }
                }
                continue;
            }
            Op::Call(
                Function::Factorial
                | Function::DoubleFactorial
                | Function::Binomial
                | Function::Gcd
                | Function::Lcm
                | Function::Mod,
                args,
            ) => args.clone(),
            Op::Series { from, to, .. } => vec![*from, *to],
            Op::Pow(base, exponent) if arena.rational_value(*exponent).is_none() => {
                let negative = match arena.op(*base) {
                    Op::I => true,
                    Op::Rational(r) => *r < integer(0),
                    Op::Mul(c, ids) => *c < integer(0) && ids.iter().all(|&id| arena.is_positive(id)),
                    _ => false,
                };
                if negative { vec![*exponent] } else { continue }
            }
            _ => continue,
        };
        let below = EvaluationOrder::new(arena, &inside, work)?;
        for &id in below.nodes() {
            if let Op::Variable(index) = arena.op(id) {
                marked[*index] = true;
            }
        }
    }
    Ok(marked)
}

/// True if a node jumps somewhere: its argument is not constant.
pub(super) fn is_jump(arena: &Arena, id: Id) -> bool {
    matches!(arena.op(id), Op::Call(Function::Floor | Function::Mod | Function::Sgn, args)
        if !args.iter().all(|&id| arena.is_real(id)))
}

/// True if a letter conventionally denotes a whole number, in exponents and in ⌊n/2⌋.
pub(super) fn is_whole_name(arena: &Arena, v: usize) -> bool {
    matches!(&arena.atoms[v], Atom::Symbol(name) if matches!(name.as_str(), "n" | "m" | "k"))
}

/// The variables in a plan.
pub(super) fn variables(arena: &Arena, plan: &EvaluationOrder) -> Vec<usize> {
    let index = |id: &Id| if let Op::Variable(index) = arena.op(*id) { Some(*index) } else { None };
    plan.nodes().iter().filter_map(index).collect()
}
