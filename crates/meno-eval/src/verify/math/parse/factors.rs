//! The factors of a product during parsing, and which of them commute.

use crate::verify::math::tree::{Expr, Literal};

/// The factors so far.
#[derive(Default)]
pub(super) struct Factors {
    pub(super) items: Vec<Expr>,
    /// True if the factors do not commute.
    pub(super) ordered: bool,
}

impl Factors {
    pub(super) fn push(&mut self, factor: Expr) {
        if let (Some(Expr::Cycles(last)), Expr::Cycles(next)) = (self.items.last_mut(), &factor) {
            last.extend(next.iter().cloned());
            return;
        }
        self.ordered |= matches!(factor, Expr::Opaque(_) | Expr::Text(_) | Expr::Sequence(_));
        self.items.push(factor);
    }

    pub(super) fn finish(&mut self) -> Expr {
        let mut items = std::mem::take(&mut self.items);
        // A^T B and A^{-1} B: matrices.
        let turned = |e: &Expr| matches!(e, Expr::Pow(base, power) if is_capital(base) && is_matrix_power(power));
        let matrices = items.iter().filter(|e| is_capital(e) || turned(e)).count();
        self.ordered |= matrices > 1 && items.iter().any(turned);
        match items.len() {
            1 => items.remove(0),
            _ if self.ordered => Expr::Sequence(items),
            _ => Expr::Mul(items),
        }
    }
}

/// True for a number without an operation.
pub(super) fn is_numeral(e: &Expr) -> bool {
    match e {
        Expr::Number(_) | Expr::Percent(_) | Expr::Mixed(..) | Expr::Based(..) => true,
        // 2^n 3^m is a product.
        Expr::Pow(base, exponent) => is_numeral(base) && is_numeric(exponent),
        _ => false,
    }
}

/// True for a name with a vector arrow.
pub(super) fn is_vector(e: &Expr) -> bool {
    matches!(e, Expr::Symbol(name) if name.starts_with("\\vec{") || name.starts_with("\\overrightarrow{"))
}

/// True for a capital letter, which can name a set.
pub(super) fn is_capital(e: &Expr) -> bool {
    matches!(e, Expr::Symbol(name) if name.len() == 1 && name.as_bytes()[0].is_ascii_uppercase())
}

/// True for the exponents −1 and T.
fn is_matrix_power(power: &Expr) -> bool {
    match power {
        Expr::Symbol(t) => t == "T",
        Expr::Opaque(t) => t == "\\top",
        Expr::Neg(one) => **one == Expr::Number(Literal::integer(1)),
        _ => false,
    }
}

/// True for a value without letters, which a unit can follow.
pub(in crate::verify::math) fn is_numeric(expr: &Expr) -> bool {
    match expr {
        Expr::Number(_) | Expr::Mixed(..) | Expr::Based(..) | Expr::Degrees(_) | Expr::Percent(_) => true,
        Expr::Constant(_) => true,
        Expr::Neg(x) | Expr::PlusMinus(x) | Expr::MinusPlus(x) => is_numeric(x),
        Expr::Div(a, b) | Expr::Pow(a, b) | Expr::Root(a, b) => is_numeric(a) && is_numeric(b),
        Expr::Add(items) | Expr::Mul(items) | Expr::Call(_, items) => items.iter().all(is_numeric),
        Expr::Apply(name, items) => name == "\\time" && items.iter().all(is_numeric),
        _ => false,
    }
}
