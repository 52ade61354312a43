//! RMSNorm: y = weight ⊙ x · rstd, rstd = 1 / √(mean(x²) + eps) (Zhang & Sennrich, arXiv 1910.07467, eq. 4).
//!
//! Only x is kept for backward: rstd costs one pass over a row that backward has in cache anyway.

use super::Columns;
use crate::tape::{Activation, Builder, Describe, Io, Param, ParamLayout};

/// Gain and epsilon of a norm.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    /// The gain, `[cols]`.
    pub weight: Param,
    /// The epsilon added to the mean square.
    pub eps: f32,
}

/// y = RMSNorm(x), on columns of activations.
pub struct RmsNorm {
    /// Input.
    pub x: Columns,
    /// Gain and epsilon.
    pub norm: Norm,
    /// Output: the same number of columns.
    pub y: Columns,
}

impl RmsNorm {
    /// Appends the norm of all columns of `x`; returns its output.
    pub fn push(
        b: &mut Builder<impl Describe + From<RmsNorm>>,
        params: &ParamLayout,
        x: Activation,
        norm: Norm,
    ) -> Activation {
        let y = b.activation(params.info(norm.weight).len());
        let op = RmsNorm { x: Columns::all(b, x), norm, y: Columns::all(b, y) };
        b.push(op);
        y
    }
}

impl Describe for RmsNorm {
    fn name(&self) -> &'static str {
        "rms_norm"
    }
    fn io(&self) -> Io {
        let (x, y) = (self.x.act, self.y.act);
        Io {
            reads: vec![x],
            writes: vec![y],
            saved: vec![x],
            grad_reads: vec![y],
            grad_writes: vec![x],
            ..Io::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::precision::Precision;
    use crate::testing::{TestInput, build, check_agreement};

    #[test]
    fn gradients() {
        for mut net in build(true, 7, |b, p| {
            let x = TestInput::input(b, p, 37);
            let norm = Norm { weight: p.declare("norm.weight", &[37]), eps: 1e-5 };
            RmsNorm::push(b, p, x, norm)
        }) {
            net.check_gradients(1e-3);
        }
    }

    #[test]
    fn columns_of_wider_activations() {
        for mut net in build(true, 5, |b, p| {
            let x = TestInput::input(b, p, 24);
            let (left, right) = (p.declare("a", &[10]), p.declare("b", &[14]));
            let y = b.activation(24);
            let norm = |weight| Norm { weight, eps: 1e-5 };
            let op = RmsNorm { x: Columns::range(b, x, 0..10), norm: norm(left), y: Columns::range(b, y, 14..24) };
            b.push(op);
            let op = RmsNorm { x: Columns::range(b, x, 10..24), norm: norm(right), y: Columns::range(b, y, 0..14) };
            b.push(op);
            y
        }) {
            net.check_gradients(1e-3);
            net.check_bits();
        }
    }

    /// Devices share a wide row among threads, and sum the gain's gradient over spans of rows.
    #[test]
    fn wide_rows_and_many_rows() {
        for (rows, cols) in [(150, 12), (70, 1028), (3, 1027), (2, 12_400)] {
            let nets = || {
                build(true, rows, |b, p| {
                    let x = TestInput::input(b, p, cols);
                    let norm = Norm { weight: p.declare("norm.weight", &[cols]), eps: 1e-5 };
                    RmsNorm::push(b, p, x, norm)
                })
            };
            check_agreement(nets(), Precision::F32, 2e-5);
            nets().iter_mut().for_each(|net| net.check_bits());
        }
    }
}
