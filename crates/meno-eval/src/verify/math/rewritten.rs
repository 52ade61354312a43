//! Rewrites special notations as plain trees: unit vectors, sums with dots, counts, stated values.

use super::tree::{Bracket, Constant, Expr, Literal, Relation};
use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{Signed, ToPrimitive, Zero};

/// Maximum number of factors in a power of a progression.
const MAX_TERMS: usize = 64;

/// The `dimension` coordinates of `3i + 2j`. Requires j or k, because `3i` alone is imaginary.
pub(super) fn coordinates(e: &Expr, dimension: usize) -> Option<Expr> {
    let mut sums: [Vec<Expr>; 3] = Default::default();
    let terms = match e {
        Expr::Add(terms) => terms.as_slice(),
        term => std::slice::from_ref(term),
    };
    for term in terms {
        let (axis, coefficient) = component(term)?;
        sums[axis].push(coefficient);
    }
    let used = sums.iter().rposition(|s| !s.is_empty())?;
    if used == 0 || used >= dimension || dimension > 3 {
        return None;
    }
    let items = sums.into_iter().take(dimension).map(|mut terms| match terms.len() {
        0 => Expr::Number(Literal::integer(0)),
        1 => terms.remove(0),
        _ => Expr::Add(terms),
    });
    Some(Expr::Tuple(Bracket::Round, items.collect(), Bracket::Round))
}

/// The axis of a unit vector.
fn axis(e: &Expr) -> Option<usize> {
    match e {
        Expr::Constant(Constant::I) => Some(0),
        Expr::Symbol(name) => {
            let inner = ["\\hat{", "\\vec{", "\\widehat{", "\\overrightarrow{", "\\bar{", "\\overline{"]
                .iter()
                .find_map(|accent| name.strip_prefix(accent)?.strip_suffix('}'))
                .unwrap_or(name)
                .trim();
            match inner {
                "i" | "\\imath" => Some(0),
                "j" | "\\jmath" => Some(1),
                "k" => Some(2),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The axis of one term of a vector and its coefficient, which contains no unit vector.
fn component(term: &Expr) -> Option<(usize, Expr)> {
    if let Some(axis) = axis(term) {
        return Some((axis, Expr::Number(Literal::integer(1))));
    }
    match term {
        Expr::Neg(x) => component(x).map(|(axis, c)| (axis, Expr::Neg(Box::new(c)))),
        Expr::Div(x, by) if !has_axis(by) => component(x).map(|(axis, c)| (axis, Expr::Div(Box::new(c), by.clone()))),
        Expr::Mul(factors) => {
            let (last, rest) = factors.split_last()?;
            let axis = axis(last)?;
            if rest.iter().any(has_axis) {
                return None;
            }
            Some((axis, if rest.len() == 1 { rest[0].clone() } else { Expr::Mul(rest.to_vec()) }))
        }
        _ => None,
    }
}

fn has_axis(e: &Expr) -> bool {
    axis(e).is_some() || children(e).into_iter().any(has_axis)
}

/// Evaluates a sum with dots: `1 + 2 + \cdots + n`. Two terms before the dots define an arithmetic progression, three a
/// geometric one.
pub(super) fn without_dots(e: &Expr) -> Option<Expr> {
    let Expr::Add(terms) = e else { return None };
    let at = terms.iter().position(is_dots)?;
    if at + 2 != terms.len() || !(2..=MAX_TERMS).contains(&at) {
        return None;
    }
    let last = &terms[at + 1];
    let first: Vec<BigRational> = terms[..at].iter().map(number).collect::<Option<_>>()?;
    let step = &first[1] - &first[0];
    if first.windows(2).all(|p| &p[1] - &p[0] == step) && !step.is_zero() {
        return arithmetic(&first, &step, last);
    }
    geometric(&first, last)
}

fn is_dots(e: &Expr) -> bool {
    matches!(e, Expr::Opaque(name) if name == "\\cdots")
}

/// The rational number that an expression denotes.
fn number(e: &Expr) -> Option<BigRational> {
    match e {
        Expr::Number(n) => Some(n.value.clone()),
        Expr::Neg(x) => number(x).map(|n| -n),
        Expr::Div(a, b) => {
            let (a, b) = (number(a)?, number(b)?);
            (!b.is_zero()).then(|| a / b)
        }
        _ => None,
    }
}

fn written(r: &BigRational) -> Expr {
    let integer = |n: &BigInt| Expr::Number(Literal::integer(n.abs()));
    let size = if r.is_integer() {
        integer(r.numer())
    } else {
        Expr::Div(Box::new(integer(r.numer())), Box::new(integer(r.denom())))
    };
    if r.is_negative() { Expr::Neg(Box::new(size)) } else { size }
}

/// (first + last)/2 · ((last − first)/step + 1). If the last term has a letter, it must be that letter or a multiple of
/// it.
fn arithmetic(first: &[BigRational], step: &BigRational, last: &Expr) -> Option<Expr> {
    if let Some(end) = number(last) {
        let steps = (&end - &first[0]) / step;
        if !steps.is_integer() || steps.to_integer() < BigInt::from(first.len()) {
            return None;
        }
        let sum =
            (&end + &first[0]) * (steps + BigRational::from_integer(1.into())) / BigRational::from_integer(2.into());
        return Some(written(&sum));
    }
    let letters = matches!(last, Expr::Symbol(_))
        || matches!(last, Expr::Mul(factors) if matches!(factors.as_slice(), [Expr::Number(_), Expr::Symbol(_)]));
    if !letters {
        return None;
    }
    let add = |a: Expr, b: Expr| Expr::Add(vec![a, b]);
    let div = |a: Expr, b: Expr| Expr::Div(Box::new(a), Box::new(b));
    let start = written(&first[0]);
    let steps = div(add(last.clone(), Expr::Neg(Box::new(start.clone()))), written(step));
    let count = add(steps, Expr::Number(Literal::integer(1)));
    Some(div(Expr::Mul(vec![add(start, last.clone()), count]), Expr::Number(Literal::integer(2))))
}

fn geometric(first: &[BigRational], last: &Expr) -> Option<Expr> {
    let end = number(last)?;
    if first.len() < 3 || first.iter().any(Zero::is_zero) {
        return None;
    }
    let quotient = &first[1] / &first[0];
    if !first.windows(2).all(|p| &p[1] / &p[0] == quotient) {
        return None;
    }
    let (mut sum, mut term) = (BigRational::zero(), first[0].clone());
    for count in 1..=MAX_TERMS {
        sum += &term;
        if term == end {
            return (count > first.len()).then(|| written(&sum));
        }
        term *= &quotient;
    }
    None
}

/// `C(10, 3)`, `P(5, 2)`, `C_{10}^3`, `C^3_{10}`: the number of combinations or permutations.
pub(super) fn counted(e: &Expr) -> Option<BigInt> {
    let (name, n, k) = match e {
        Expr::Apply(name, args) => match args.as_slice() {
            [n, k] => (name.as_str(), whole(n)?, whole(k)?),
            _ => return None,
        },
        Expr::Pow(base, k) => match base.as_ref() {
            Expr::Symbol(name) => {
                let (letter, rest) = name.split_once("_{")?;
                (letter, rest.strip_suffix('}')?.parse().ok()?, whole(k)?)
            }
            _ => return None,
        },
        _ => return None,
    };
    if k > n || n > 1000 {
        return None;
    }
    let arrangements = |k: u32| (0..k).fold(BigInt::from(1), |product, i| product * (n - i));
    match name {
        "P" | "A" => Some(arrangements(k)),
        "C" => Some(arrangements(k).div_floor(&(1..=k).fold(BigInt::from(1), |product, i| product * i))),
        _ => None,
    }
}

/// The value that an equation of names states, as in `m + n = 5`: a combination of at least two names without a
/// constant term. `2x + 1 = 5` does not state a value.
pub(super) fn stated_value(e: &Expr) -> Option<Expr> {
    let Expr::Chain(operands, relations) = e else { return None };
    // x = y = 3
    if let Some((value, names)) = operands.split_last()
        && names.len() > 1
        && names.iter().all(|e| matches!(e, Expr::Symbol(_)))
        && relations.iter().all(|r| *r == Relation::Equal)
    {
        return Some(value.clone());
    }
    let ([left, value], [Relation::Equal]) = (operands.as_slice(), relations.as_slice()) else { return None };
    let mut names = Vec::new();
    (is_combination(left, &mut names) && names.len() > 1).then(|| value.clone())
}

/// True if an expression combines names with each other and with factors.
fn is_combination<'a>(e: &'a Expr, names: &mut Vec<&'a str>) -> bool {
    match e {
        Expr::Symbol(name) => {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
            true
        }
        Expr::Neg(x) => is_combination(x, names),
        Expr::Div(a, b) => is_combination(a, names) && (matches!(**b, Expr::Number(_)) || is_combination(b, names)),
        Expr::Add(items) => items.iter().all(|x| is_combination(x, names)),
        Expr::Mul(items) => items.iter().all(|x| matches!(x, Expr::Number(_)) || is_combination(x, names)),
        _ => false,
    }
}

fn whole(e: &Expr) -> Option<u32> {
    match e {
        Expr::Number(n) if n.value.is_integer() => n.value.to_integer().to_u32(),
        _ => None,
    }
}

/// The operands of a node that can contain ±.
pub(super) fn children(e: &Expr) -> Vec<&Expr> {
    match e {
        Expr::Add(items) | Expr::Mul(items) | Expr::Sequence(items) | Expr::Call(_, items) => items.iter().collect(),
        Expr::Chain(items, _) | Expr::Tuple(_, items, _) | Expr::List(items) | Expr::Set(items) => {
            items.iter().collect()
        }
        Expr::Neg(x) | Expr::Percent(x) | Expr::Degrees(x) | Expr::Quantity(x, _) => vec![x],
        Expr::Div(a, b) | Expr::Pow(a, b) | Expr::Root(a, b) => vec![a, b],
        _ => Vec::new(),
    }
}
