//! The structure of answers: their parts, names, signs, decimals.

use super::super::names::{assignment, is_name};
use super::super::rewritten::children;
use super::super::scalar::{self, Work};
use super::super::tree::{Bracket, Expr, Function, Literal, Relation};
use num_bigint::BigInt;
use num_rational::BigRational;

/// True if the expression contains Re, Im or arg of something with variables.
pub(super) fn has_complex_variable(e: &Expr) -> bool {
    match e {
        Expr::Call(Function::Re | Function::Im | Function::Arg, _) => !scalar::is_constant(e),
        e => children(e).into_iter().any(has_complex_variable),
    }
}

/// The set that words describe.
pub(super) fn set_in_words(words: &str) -> Option<Expr> {
    match words {
        "all real numbers" | "all reals" | "real numbers" | "every real number" | "all real x" => {
            Some(Expr::Symbol("\\mathbb{R}".into()))
        }
        "empty set" | "the empty set" | "no solution" | "no solutions" | "no real solution" | "no real solutions" => {
            Some(Expr::Set(Vec::new()))
        }
        _ => None,
    }
}

/// Angle brackets are treated as the round brackets of a vector.
pub(super) fn brackets(left: Bracket, right: Bracket) -> (Bracket, Bracket) {
    let plain = |b| if b == Bracket::Angle { Bracket::Round } else { b };
    (plain(left), plain(right))
}

pub(super) fn scaled(x: &Expr, factor: &BigRational) -> Expr {
    let integer = |n: &BigInt| Expr::Number(Literal::integer(n.clone()));
    let factor = Expr::Div(Box::new(integer(factor.numer())), Box::new(integer(factor.denom())));
    Expr::Mul(vec![x.clone(), factor])
}

/// A temperature in kelvins. `scale.0` is the zero of the scale in kelvins, `scale.1` the size of its degree.
pub(super) fn kelvins(x: &Expr, scale: &(BigRational, BigRational)) -> Expr {
    let zero = scaled(&Expr::Number(Literal::integer(1)), &scale.0);
    Expr::Add(vec![scaled(x, &scale.1), zero])
}

pub(super) fn is_coordinate(e: &Expr) -> bool {
    matches!(e, Expr::Symbol(name) if matches!(name.as_str(), "x" | "y" | "z"))
}

/// True for the names `y` and `f(x)`, which both introduce a function.
pub(super) fn are_names_of_a_function(a: &Expr, b: &Expr) -> bool {
    let dependent = |e: &Expr| matches!(e, Expr::Symbol(y) if y == "y");
    let function = |e: &Expr| matches!(e, Expr::Apply(_, x) if x.len() == 1 && is_name(&x[0]));
    dependent(a) && function(b) || function(a) && dependent(b)
}

/// True for `f(x)` and `f(n)`.
pub(super) fn is_same_function(a: &Expr, b: &Expr) -> bool {
    match (a, b) {
        (Expr::Apply(f, x), Expr::Apply(g, y)) => {
            // P(A) and P(B) are about different events.
            let variable = |e: &Expr| matches!(e, Expr::Symbol(name) if !name.starts_with(char::is_uppercase));
            f == g && matches!((x.as_slice(), y.as_slice()), ([x], [y]) if variable(x) && variable(y))
        }
        _ => false,
    }
}

pub(in crate::verify::math) fn is_number(e: &Expr) -> bool {
    is_scalar(e) && scalar::is_constant(e)
}

/// A decimal as written, with the power of ten that scales it.
pub(super) fn written_decimal(e: &Expr) -> Option<(&Literal, Expr)> {
    let one = || Expr::Number(Literal::integer(1));
    match e {
        Expr::Number(n) => Some((n, one())),
        Expr::Neg(x) => written_decimal(x),
        Expr::Percent(x) => {
            let hundred = Expr::Number(Literal::integer(100));
            written_decimal(x).map(|(n, shift)| (n, Expr::Div(Box::new(shift), Box::new(hundred))))
        }
        Expr::Mul(factors) => match factors.as_slice() {
            [Expr::Number(n), shift @ Expr::Pow(ten, power)]
                if **ten == Expr::Number(Literal::integer(10))
                    && matches!(power.as_ref(), Expr::Number(_) | Expr::Neg(_)) =>
            {
                Some((n, shift.clone()))
            }
            _ => None,
        },
        _ => None,
    }
}

/// The parts of an answer that may have several parts. A part with ± counts once with + and once with −.
pub(super) fn parts(e: &Expr) -> Option<Vec<Expr>> {
    match e {
        Expr::List(items) | Expr::Set(items) => {
            let mut all = Vec::new();
            for item in items {
                if has_sign_choice(item) && !matches!(item, Expr::List(_) | Expr::Set(_)) {
                    all.extend([with_sign(item, true), with_sign(item, false)]);
                } else {
                    all.push(item.clone());
                }
            }
            Some(all)
        }
        e if has_sign_choice(e) => Some(vec![with_sign(e, true), with_sign(e, false)]),
        e => Some(vec![e.clone()]),
    }
}

/// The assignments of `(p, q) = (3, 2)` or of a list, each with one name.
pub(super) fn pairs(e: &Expr) -> Option<Vec<Expr>> {
    let pair = |name: &Expr, value: &Expr| Expr::Chain(vec![name.clone(), value.clone()], vec![Relation::Equal]);
    match e {
        Expr::Chain(operands, relations) if relations.as_slice() == [Relation::Equal] => match operands.as_slice() {
            [Expr::Tuple(_, names, _), Expr::Tuple(_, values, _)] if names.len() == values.len() => {
                names.iter().all(is_name).then(|| names.iter().zip(values).map(|(n, v)| pair(n, v)).collect())
            }
            _ => None,
        },
        Expr::List(items) if items.len() > 1 => {
            let named = |e: &Expr| assignment(e).is_some_and(|a| matches!(a.name, Some(Expr::Symbol(_))));
            items.iter().all(named).then(|| items.clone())
        }
        _ => None,
    }
}

/// True if the expression contains ± or ∓.
pub(super) fn has_sign_choice(e: &Expr) -> bool {
    matches!(e, Expr::PlusMinus(_) | Expr::MinusPlus(_)) || children(e).into_iter().any(has_sign_choice)
}

/// Replaces every ± with + (or −), and every ∓ with the opposite sign.
pub(super) fn with_sign(e: &Expr, plus: bool) -> Expr {
    match e {
        Expr::PlusMinus(x) if plus => with_sign(x, plus),
        Expr::MinusPlus(x) if !plus => with_sign(x, plus),
        Expr::PlusMinus(x) | Expr::MinusPlus(x) => Expr::Neg(Box::new(with_sign(x, plus))),
        other => other.map(|x| with_sign(x, plus)),
    }
}

/// True if [`scalar`] supports the expression.
pub(super) fn is_scalar(e: &Expr) -> bool {
    match e {
        Expr::Number(_) | Expr::Constant(_) | Expr::Symbol(_) | Expr::Based(..) => true,
        Expr::Add(items) | Expr::Mul(items) | Expr::Apply(_, items) => items.iter().all(is_scalar),
        Expr::Call(_, items) => items.iter().all(|x| is_scalar(x) || matches!(x, Expr::Matrix(_))),
        Expr::Neg(x) | Expr::Percent(x) | Expr::Degrees(x) => is_scalar(x),
        Expr::Div(a, b) | Expr::Pow(a, b) | Expr::Root(a, b) | Expr::Mixed(a, b) => is_scalar(a) && is_scalar(b),
        Expr::Sum(s) | Expr::Product(s) => is_scalar(&s.from) && is_scalar(&s.to) && is_scalar(&s.term),
        _ => false,
    }
}

/// True if the values in an answer can be computed: 9^{9^{9^9}} cannot.
pub(in crate::verify::math) fn is_computable(e: &Expr) -> bool {
    match e {
        e if is_scalar(e) => scalar::is_computable(e, &mut Work::default()),
        e => children(e).into_iter().all(is_computable),
    }
}
