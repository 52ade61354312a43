//! The part before `=` or `\in` that only names the answer: `x`, `f(x)`, `|AB|`, `(p, q)`, `A : B`.

use super::tree::{Expr, Function, Relation};

/// A chain that assigns a value to a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Assignment<'a> {
    /// The name, if there is one.
    pub(super) name: Option<&'a Expr>,
    /// The equal values: `2 + 3` and `5` in `x = 2 + 3 = 5`.
    pub(super) steps: &'a [Expr],
    /// The last of `steps`.
    pub(super) value: &'a Expr,
}

/// The assignment that a chain expresses: a name, then `=` (the part after `\approx` is dropped); or a name and the set
/// that contains it; or equal values without a name.
pub(super) fn assignment(chain: &Expr) -> Option<Assignment<'_>> {
    let Expr::Chain(operands, relations) = chain else { return None };
    let named = is_name(&operands[0]);
    if let ([name, set], [Relation::In]) = (operands.as_slice(), relations.as_slice()) {
        return is_name(name).then_some(Assignment { name: Some(name), steps: &operands[1..], value: set });
    }
    // x ≈ 11 has no exact value.
    if let ([name, value], [Relation::Approx]) = (operands.as_slice(), relations.as_slice()) {
        let name = named.then_some(name);
        return Some(if named {
            Assignment { name, steps: &operands[1..], value }
        } else {
            Assignment { name, steps: &operands[..1], value: &operands[0] }
        });
    }
    let equal = relations.iter().take_while(|r| **r == Relation::Equal).count();
    if relations[equal..].iter().any(|r| *r != Relation::Approx) || equal == 0 {
        return None;
    }
    let steps = &operands[usize::from(named)..=equal];
    let value = steps.last()?;
    // 7 = 11a + c is an equation, not a value.
    if !named && steps.iter().any(has_letters) {
        return None;
    }
    Some(Assignment { name: named.then_some(&operands[0]), steps, value })
}

/// True if an expression is only a name.
pub(super) fn is_name(e: &Expr) -> bool {
    match e {
        Expr::Symbol(_) | Expr::Text(_) | Expr::Opaque(_) => true,
        Expr::Apply(name, _) => name != "\\time" && name != "\\pmod",
        Expr::Call(Function::Abs | Function::Det, items) => items.iter().all(is_name),
        Expr::Ratio(items) | Expr::Tuple(_, items, _) | Expr::Sequence(items) => items.iter().all(is_name),
        Expr::Div(a, b) => is_name(a) && is_name(b),
        _ => false,
    }
}

fn has_letters(e: &Expr) -> bool {
    match e {
        Expr::Symbol(_) | Expr::Text(_) | Expr::Opaque(_) | Expr::Apply(..) => true,
        Expr::Add(items)
        | Expr::Mul(items)
        | Expr::Call(_, items)
        | Expr::Sequence(items)
        | Expr::Tuple(_, items, _) => items.iter().any(has_letters),
        Expr::Neg(x) | Expr::Percent(x) | Expr::Degrees(x) | Expr::Quantity(x, _) => has_letters(x),
        Expr::Div(a, b) | Expr::Pow(a, b) | Expr::Root(a, b) => has_letters(a) || has_letters(b),
        _ => false,
    }
}
