//! Decides whether two nodes of a graph are equal, defined, real, and what their sign is.

use std::cmp::Ordering;

use num_traits::Zero;

use super::super::tree::Function;
use super::arena::{Arena, Id, Op};
use super::domain::{MAX_PRECISION, SINGULAR_PRECISION, defined, magnitude};
use super::equality::Equality;
use super::evaluate::{Context, Evaluation, EvaluationOrder, Value};
use super::pair::Pair;
use super::rational::integer;
use super::work::{Failure, Work};
use super::{bound, field, jumps, points};

/// Bits to which constants must agree if no bound decides, in addition to the bits for their heights.
const RULE_BITS: i64 = 512;

/// Decides whether two nodes are equal. Undecided if the budget is exhausted.
pub(super) fn same(arena: &mut Arena, a: Id, b: Id, work: &mut Work) -> Equality {
    let verdict = decide(arena, a, b, work).unwrap_or(Equality::Undecided);
    if verdict == Equality::Different && arena.loose { Equality::Undecided } else { verdict }
}

fn decide(arena: &mut Arena, a: Id, b: Id, work: &mut Work) -> Result<Equality, Failure> {
    let plan = EvaluationOrder::new(arena, &[a, b], work)?;
    let has = |wanted: fn(&Op) -> bool| plan.nodes().iter().any(|&id| wanted(arena.op(id)));
    let variables = has(|op| matches!(op, Op::Variable(_)));
    let log = has(|op| matches!(op, Op::Call(Function::Log, _)));
    if a == b {
        let defined = if variables { points::defined(arena, a, &plan, work)? } else { defined(arena, a, work)? };
        return Ok(if defined { Equality::Equal } else { Equality::Undecided });
    }
    if variables && let Some(verdict) = field::compare(arena, a, b, plan.nodes(), work)? {
        return Ok(verdict);
    }
    let mut decide_as = |log10: bool| {
        if variables { points::compare(arena, a, b, log10, work) } else { constants(arena, a, b, log10, work) }
    };
    let mut verdict = decide_as(false)?;
    // A logarithm of unknown base: equal only if equal for both bases.
    if log && verdict != Equality::Different {
        verdict = match decide_as(true)? {
            Equality::Equal => verdict,
            other => other,
        };
    }
    if variables && verdict == Equality::Equal { jumps::confirm(arena, Pair { a, b, same }, work) } else { Ok(verdict) }
}

/// Decides whether two constants are equal.
fn constants(arena: &mut Arena, a: Id, b: Id, log10: bool, work: &mut Work) -> Result<Equality, Failure> {
    let difference = arena.sub(a, b, work)?;
    if let Some(r) = arena.rational_value(difference) {
        // Terms cancel only if they are certainly defined.
        return Ok(if r.is_zero() { Equality::Equal } else { Equality::Different });
    }
    let plan = EvaluationOrder::new(arena, &[difference], work)?;
    let separation = bound::separation(arena, difference, plan.nodes());
    let height = bound::height(arena, plan.nodes());
    let mut p = 64;
    loop {
        let context = Context { point: &[], log10, p };
        let evaluation = Evaluation::run(arena, &plan, &context, work)?;
        match evaluation.value(difference) {
            Ok(value) => {
                if !value.z.contains_zero() {
                    return Ok(Equality::Different);
                }
                let needed = match separation {
                    Some(bits) if bits <= MAX_PRECISION as f64 => bits as i64 + 1,
                    Some(_) => return Ok(Equality::Undecided),
                    None => RULE_BITS + height + 4 * magnitude(arena, &plan, &evaluation),
                };
                let size = value.z.upper().log2();
                if size < -needed {
                    return Ok(Equality::Equal);
                }
                // The error is 2^size at precision p.
                let wanted = if p >= 128 { p + needed + size + 32 } else { 192 };
                p = wanted.max(2 * p);
            }
            Err(Failure::Undefined) => {
                let one_side = defined(arena, a, work)? || defined(arena, b, work)?;
                return Ok(if one_side { Equality::Different } else { Equality::Undecided });
            }
            Err(Failure::Singular | Failure::Unclear) if p < SINGULAR_PRECISION => p *= 2,
            Err(_) => return Ok(Equality::Undecided),
        }
        if p > MAX_PRECISION {
            return Ok(Equality::Undecided);
        }
    }
}

/// True if an expression, constant or not, has a value somewhere.
pub(super) fn is_defined(arena: &mut Arena, id: Id, work: &mut Work) -> Result<bool, Failure> {
    Ok(decide(arena, id, id, work)? == Equality::Equal)
}

/// The sign of a real constant.
pub(super) fn sign(arena: &mut Arena, id: Id, work: &mut Work) -> Result<Option<Ordering>, Failure> {
    if let Some(r) = arena.rational_value(id) {
        return Ok(Some(r.cmp(&integer(0))));
    }
    let zero = arena.int(0, work)?;
    match same(arena, id, zero, work) {
        Equality::Equal => return Ok(Some(Ordering::Equal)),
        Equality::Undecided => return Ok(None),
        Equality::Different => {}
    }
    let plan = EvaluationOrder::new(arena, &[id], work)?;
    if plan.nodes().iter().any(|&id| matches!(arena.op(id), Op::Variable(_))) {
        return Ok(None);
    }
    let mut found = [None; 2];
    let log = plan.nodes().iter().any(|&id| matches!(arena.op(id), Op::Call(Function::Log, _)));
    for (slot, log10) in [(0, false), (1, true)] {
        if slot == 1 && !log {
            found[1] = found[0];
            break;
        }
        let mut p = 64;
        while p <= MAX_PRECISION && found[slot].is_none() {
            let context = Context { point: &[], log10, p };
            let value = match Evaluation::run(arena, &plan, &context, work)?.value(id) {
                Ok(value) => Some(value.clone()),
                Err(Failure::Singular | Failure::Unclear) => None,
                Err(_) => return Ok(None),
            };
            if let Some(Value { z, .. }) = value {
                if z.is_nonreal() {
                    return Ok(None);
                }
                if !z.is_real() && !is_real(arena, id, work)? {
                    return Ok(None);
                }
                found[slot] = z.re.sign();
            }
            p *= 2;
        }
    }
    Ok(if found[0] == found[1] { found[0] } else { None })
}

/// True if the imaginary part of a constant is zero.
pub(super) fn is_real(arena: &mut Arena, id: Id, work: &mut Work) -> Result<bool, Failure> {
    let imaginary = arena.intern(Op::Call(Function::Im, vec![id]), work)?;
    let zero = arena.int(0, work)?;
    Ok(same(arena, imaginary, zero, work) == Equality::Equal)
}
