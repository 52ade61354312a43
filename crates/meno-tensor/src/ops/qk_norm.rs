//! RMSNorm of each head separately, all with one gain (the q_norm and k_norm of Qwen 3, arXiv 2505.09388 §2).

use super::Columns;
use super::rms_norm::Norm;
use crate::tape::{Describe, Io};

/// y = RMSNorm(x), over each run of as many columns as the gain has.
pub struct QkNorm {
    /// Input: one or more whole heads.
    pub x: Columns,
    /// Gain `[head]` and epsilon.
    pub norm: Norm,
    /// Output: the same number of columns.
    pub y: Columns,
}

impl Describe for QkNorm {
    fn name(&self) -> &'static str {
        "qk_norm"
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

    fn nets(part: bool) -> Vec<crate::testing::Net> {
        build(true, 7, |b, p| {
            let x = TestInput::input(b, p, 24);
            let q = p.declare("q_norm.weight", &[6]);
            let y = b.activation(if part { 21 } else { 24 });
            let norm = |weight| Norm { weight, eps: 1e-5 };
            let whole = if part { 18 } else { 24 };
            let op = QkNorm { x: Columns::range(b, x, 0..whole), norm: norm(q), y: Columns::range(b, y, 0..whole) };
            b.push(op);
            if part {
                let k = p.declare("k_norm.weight", &[3]);
                let op = QkNorm { x: Columns::range(b, x, 18..21), norm: norm(k), y: Columns::range(b, y, 18..21) };
                b.push(op);
            }
            y
        })
    }

    #[test]
    fn gradients_and_bits() {
        for part in [false, true] {
            for mut net in nets(part) {
                net.check_gradients(1e-3);
                net.check_bits();
            }
        }
    }

    #[test]
    fn equals_the_norm_of_each_head() {
        for mut net in nets(false) {
            let (x, gain) = (net.value("test.input.0"), net.value("q_norm.weight"));
            let y = net.output();
            for (x, y) in x.chunks(6).zip(y.chunks(6)) {
                let mean = x.iter().map(|x| x * x).sum::<f32>() / 6.0;
                for ((x, y), g) in x.iter().zip(y).zip(&gain) {
                    assert!((y - g * x / (mean + 1e-5).sqrt()).abs() < 1e-5);
                }
            }
        }
    }

    /// Devices may load four elements at once.
    #[test]
    fn heads_at_multiples_of_four_columns() {
        let nets = || {
            build(true, 40, |b, p| {
                let (x, y) = (TestInput::input(b, p, 32), b.activation(24));
                let norm = Norm { weight: p.declare("q_norm.weight", &[8]), eps: 1e-5 };
                b.push(QkNorm { x: Columns::range(b, x, 4..28), norm, y: Columns::all(b, y) });
                y
            })
        };
        check_agreement(nets(), Precision::F32, 2e-5);
        nets().iter_mut().for_each(|net| net.check_bits());
    }
}
