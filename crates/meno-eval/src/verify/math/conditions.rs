//! Conditions on an unknown: its name, its bounds, its relations read from either side.

use super::tree::{Constant, Expr, Function, Literal, Relation};

/// The name of the unknown that an expression restricts; for `|x|` this is x.
pub(super) fn unknown(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::Chain(operands, _) => operands.iter().find(|o| is_unknown(o)).map(|o| match o {
            Expr::Call(Function::Abs, arguments) => &arguments[0],
            other => other,
        }),
        Expr::List(parts) | Expr::Logic(_, parts) => parts.iter().find_map(unknown),
        _ => None,
    }
}

pub(super) fn is_unknown(expr: &Expr) -> bool {
    match expr {
        Expr::Symbol(_) | Expr::Apply(..) => true,
        Expr::Call(Function::Abs, arguments) => matches!(arguments.as_slice(), [Expr::Symbol(_)]),
        _ => false,
    }
}

/// Rewrites `|x + k| < c` and `x^2 < c` as `-c - k < x < c - k`, and similarly for `>`.
pub(super) fn between(chain: &Expr) -> Option<Expr> {
    let Expr::Chain(operands, relations) = chain else { return None };
    let ([left, bound], [relation]) = (operands.as_slice(), relations.as_slice()) else { return None };
    let number = |e: &Expr| is_constant(e).then(|| e.clone());
    let bound = number(bound)?;
    let (x, shift, bound) = match left {
        Expr::Call(Function::Abs, inner) => match inner.as_slice() {
            [Expr::Add(terms)] => match terms.as_slice() {
                [x @ Expr::Symbol(_), k] | [k, x @ Expr::Symbol(_)] => (x, number(k)?, bound),
                _ => return None,
            },
            _ => return None,
        },
        Expr::Pow(x, two) if matches!(**x, Expr::Symbol(_)) && **two == Expr::Number(Literal::integer(2)) => {
            let root = Expr::Root(two.clone(), Box::new(bound));
            (x.as_ref(), Expr::Number(Literal::integer(0)), root)
        }
        _ => return None,
    };
    let neg = |e: &Expr| Expr::Neg(Box::new(e.clone()));
    let low = Expr::Add(vec![neg(&bound), neg(&shift)]);
    let high = Expr::Add(vec![bound, neg(&shift)]);
    let than = |e: Expr, relation| Expr::Chain(vec![x.clone(), e], vec![relation]);
    Some(match relation {
        Relation::Less | Relation::LessEqual => Expr::Chain(vec![low, x.clone(), high], vec![*relation, *relation]),
        Relation::Greater | Relation::GreaterEqual => {
            Expr::Logic("lor", vec![than(low, flipped(*relation)?), than(high, *relation)])
        }
        _ => return None,
    })
}

pub(super) fn is_abs_of(expr: &Expr, unknown: &Expr) -> bool {
    matches!(expr, Expr::Call(Function::Abs, arguments) if arguments.as_slice() == [unknown.clone()])
}

/// True for `x ∈ ℤ`.
pub(super) fn is_integer(operands: &[Expr], relations: &[Relation]) -> bool {
    matches!((operands, relations), ([Expr::Symbol(_), Expr::Symbol(set)], [Relation::In]) if set == "\\mathbb{Z}")
}

/// Removes `x ∈ ℤ` from a condition.
pub(super) fn integer_condition(condition: &Expr) -> Option<Expr> {
    let (Expr::List(parts) | Expr::Logic("land", parts)) = condition else { return None };
    let says = |e: &Expr| matches!(e, Expr::Chain(operands, relations) if is_integer(operands, relations));
    let rest: Vec<Expr> = parts.iter().filter(|e| !says(e)).cloned().collect();
    match rest.len() {
        n if n == parts.len() || n == 0 => None,
        1 => rest.into_iter().next(),
        _ => Some(Expr::Logic("land", rest)),
    }
}

/// The same relation, read from right to left.
pub(super) fn flipped(relation: Relation) -> Option<Relation> {
    Some(match relation {
        Relation::Less => Relation::Greater,
        Relation::LessEqual => Relation::GreaterEqual,
        Relation::Greater => Relation::Less,
        Relation::GreaterEqual => Relation::LessEqual,
        Relation::Subset => Relation::Superset,
        Relation::SubsetEqual => Relation::SupersetEqual,
        Relation::Superset => Relation::Subset,
        Relation::SupersetEqual => Relation::SubsetEqual,
        Relation::Implies => Relation::ImpliedBy,
        Relation::ImpliedBy => Relation::Implies,
        Relation::To => Relation::From,
        Relation::From => Relation::To,
        Relation::Equal
        | Relation::NotEqual
        | Relation::Approx
        | Relation::Equivalent
        | Relation::Similar
        | Relation::Congruent
        | Relation::Parallel
        | Relation::Perpendicular
        | Relation::Iff
        | Relation::Proportional => relation,
        Relation::In | Relation::NotIn | Relation::MapsTo | Relation::Divides | Relation::If => return None,
    })
}

/// True if an expression has the form of a real number.
pub(super) fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Number(_) | Expr::Constant(Constant::Pi | Constant::E) | Expr::Based(..) => true,
        Expr::Neg(x) | Expr::Percent(x) | Expr::Degrees(x) => is_constant(x),
        Expr::Div(a, b) | Expr::Pow(a, b) | Expr::Root(a, b) | Expr::Mixed(a, b) => is_constant(a) && is_constant(b),
        Expr::Add(items) | Expr::Mul(items) | Expr::Call(_, items) => items.iter().all(is_constant),
        _ => false,
    }
}
