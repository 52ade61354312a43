//! Arithmetic on matrices of expressions.

use super::tree::{Expr, Literal};
use num_traits::{Signed, ToPrimitive, Zero};

/// Maximum number of entries of a computed matrix.
const MAX_ENTRIES: usize = 256;
/// Maximum power of a matrix that is computed.
const MAX_POWER: u32 = 8;

type Rows = Vec<Vec<Expr>>;

/// Evaluates an expression of matrices and scalars; `None` if the result is not a matrix.
pub(super) fn evaluate(expr: &Expr) -> Option<Rows> {
    match expr {
        Expr::Matrix(rows) => (rows.len() * rows.first()?.len() <= MAX_ENTRIES).then(|| rows.clone()),
        Expr::Neg(x) => Some(map(&evaluate(x)?, |e| Expr::Neg(Box::new(e)))),
        Expr::Add(terms) => {
            let mut sum = evaluate(terms.first()?)?;
            for term in &terms[1..] {
                let term = evaluate(term)?;
                if shape(&sum) != shape(&term) {
                    return None;
                }
                let add =
                    |(a, b): (Vec<Expr>, Vec<Expr>)| a.into_iter().zip(b).map(|(x, y)| Expr::Add(vec![x, y])).collect();
                sum = sum.into_iter().zip(term).map(add).collect();
            }
            Some(sum)
        }
        Expr::Mul(factors) | Expr::Sequence(factors) => {
            let mut scalars: Vec<Expr> = Vec::new();
            let mut product: Option<Rows> = None;
            for factor in factors {
                match evaluate(factor) {
                    Some(next) => product = Some(product.map_or(Some(next.clone()), |p| multiply(&p, &next))?),
                    None => scalars.push(factor.clone()),
                }
            }
            let product = product?;
            if scalars.is_empty() {
                return Some(product);
            }
            Some(map(&product, |e| Expr::Mul(scalars.iter().cloned().chain([e]).collect())))
        }
        Expr::Div(x, by) => Some(map(&evaluate(x)?, |e| Expr::Div(Box::new(e), by.clone()))),
        Expr::Pow(x, power) => {
            let base = evaluate(x)?;
            match power.as_ref() {
                Expr::Symbol(t) if matches!(t.as_str(), "T" | "\\top" | "t") => Some(transposed(&base)),
                Expr::Opaque(t) if t == "\\top" => Some(transposed(&base)),
                Expr::Number(n) => {
                    let n = whole(n).filter(|n| (1..=MAX_POWER).contains(n))?;
                    (1..n).try_fold(base.clone(), |product, _| multiply(&product, &base))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn whole(n: &Literal) -> Option<u32> {
    (n.value.is_integer() && !n.value.is_negative() && !n.value.is_zero()).then(|| n.value.to_integer().to_u32())?
}

fn shape(rows: &Rows) -> (usize, usize) {
    (rows.len(), rows.first().map_or(0, Vec::len))
}

fn map(rows: &Rows, f: impl Fn(Expr) -> Expr) -> Rows {
    rows.iter().map(|row| row.iter().cloned().map(&f).collect()).collect()
}

fn transposed(rows: &Rows) -> Rows {
    (0..shape(rows).1).map(|j| rows.iter().map(|row| row[j].clone()).collect()).collect()
}

fn multiply(a: &Rows, b: &Rows) -> Option<Rows> {
    let (n, inner) = shape(a);
    let (rows, m) = shape(b);
    if inner != rows || n * m * inner > MAX_ENTRIES {
        return None;
    }
    let entry = |i: usize, j: usize| {
        let terms: Vec<Expr> = (0..inner).map(|k| Expr::Mul(vec![a[i][k].clone(), b[k][j].clone()])).collect();
        if terms.len() == 1 { terms.into_iter().next() } else { Some(Expr::Add(terms)) }
    };
    (0..n).map(|i| (0..m).map(|j| entry(i, j)).collect()).collect()
}
