//! Several linear layers with a shared input and a fused RMSNorm: y = [n·W₁ᵀ + b₁ | n·W₂ᵀ + b₂ | …], n = RMSNorm(x).
//!
//! q, k, v or gate, up, published as one tensor each, write column ranges of one activation. The normalized input is
//! not kept: backward recomputes it.

use super::Columns;
use super::rms_norm::Norm;
use crate::tape::{Activation, Builder, Describe, Io, Param, ParamLayout};

/// One of the linear layers.
#[derive(Clone, Copy, Debug)]
pub struct Projection {
    /// `[out, in]`.
    pub weight: Param,
    /// `[out]`.
    pub bias: Option<Param>,
    /// Its first column in the output.
    pub at: usize,
    /// Its width.
    pub outputs: usize,
}

/// The op: linear layers with a shared input and a fused RMSNorm.
pub struct NormLinear {
    /// Input `[t, in]`.
    pub x: Columns,
    /// The norm of the input, if any.
    pub norm: Option<Norm>,
    /// The layers, side by side in the columns of `y`.
    pub projections: Vec<Projection>,
    /// Output `[t, sum of outputs]`.
    pub y: Activation,
    /// Sum of outputs.
    pub outputs: usize,
    /// The weights, if they form one matrix ([`ParamLayout::fuse_linear`]): one GEMM replaces several.
    pub fused: Option<Vec<Param>>,
}

impl NormLinear {
    /// Appends the layers of `weights` (weight, bias) on `x`; returns their one output.
    pub fn push(
        b: &mut Builder<impl Describe + From<NormLinear>>,
        params: &ParamLayout,
        x: Columns,
        norm: Option<Norm>,
        weights: &[(Param, Option<Param>)],
    ) -> Activation {
        let mut outputs = 0;
        let mut projections = Vec::with_capacity(weights.len());
        for &(weight, bias) in weights {
            let shape = &params.info(weight).shape;
            assert!(shape[1] == x.cols, "invariant: {} takes {} inputs", params.info(weight).name, x.cols);
            projections.push(Projection { weight, bias, at: outputs, outputs: shape[0] });
            outputs += shape[0];
        }
        let y = b.activation(outputs);
        let fused: Vec<Param> = weights.iter().map(|w| w.0).collect();
        let fused = params.are_fused(&fused).then_some(fused);
        b.push(NormLinear { x, norm, projections, y, outputs, fused });
        y
    }

    /// Returns the matrices to multiply by: first weight, first column and width of the output.
    pub(crate) fn matrices(&self) -> impl Iterator<Item = (Param, usize, usize)> {
        let count = if self.fused.is_some() { 1 } else { self.projections.len() };
        let whole = self.fused.is_some().then_some(self.outputs);
        self.projections[..count].iter().map(move |p| (p.weight, p.at, whole.unwrap_or(p.outputs)))
    }

    /// Returns true if the GEMMs read x in place.
    pub(crate) fn direct(&self) -> bool {
        self.norm.is_none()
    }
}

impl Describe for NormLinear {
    fn name(&self) -> &'static str {
        if self.direct() { "linear" } else { "norm_linear" }
    }
    fn io(&self) -> Io {
        let x = self.x.act;
        Io {
            reads: vec![x],
            writes: vec![self.y],
            saved: vec![x],
            grad_reads: vec![self.y],
            grad_writes: vec![x],
            ..Io::default()
        }
    }
    fn flops(&self, rows: usize) -> u64 {
        2 * (rows * self.x.cols * self.outputs) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestInput, build};

    fn nets(norm: bool, part: bool) -> Vec<crate::testing::Net> {
        build(true, 6, |b, p| {
            let x = TestInput::input(b, p, 20);
            let view = if part { Columns::range(b, x, 3..15) } else { Columns::all(b, x) };
            let norm = norm.then(|| Norm { weight: p.declare("norm.weight", &[view.cols]), eps: 1e-5 });
            let mut weights = Vec::new();
            for (i, outputs) in [9, 17, 4].into_iter().enumerate() {
                let weight = p.declare(format!("w{i}"), &[outputs, view.cols]);
                p.mark_linear(weight);
                weights.push((weight, (i != 1).then(|| p.declare(format!("b{i}"), &[outputs]))));
            }
            NormLinear::push(b, p, view, norm, &weights)
        })
    }

    #[test]
    fn gradients() {
        for (norm, part) in [(true, false), (true, true), (false, false), (false, true)] {
            for mut net in nets(norm, part) {
                net.check_gradients(1e-3);
                net.check_bits();
            }
        }
    }

    #[test]
    fn fused_weights_give_the_same_bits() {
        let nets = |fuse: bool| {
            build(true, 6, |b, p| {
                let x = TestInput::input(b, p, 20);
                let weights: Vec<Param> =
                    [8, 16, 4].iter().enumerate().map(|(i, &n)| p.declare(format!("w{i}"), &[n, 20])).collect();
                weights.iter().for_each(|&w| p.mark_linear(w));
                assert!(!fuse || p.fuse_linear(&weights));
                let bias = p.declare("b", &[16]);
                let norm = Norm { weight: p.declare("norm.weight", &[20]), eps: 1e-5 };
                let weights = [(weights[0], None), (weights[1], Some(bias)), (weights[2], None)];
                NormLinear::push(b, p, Columns::all(b, x), Some(norm), &weights)
            })
        };
        for (mut fused, mut apart) in nets(true).into_iter().zip(nets(false)) {
            assert_eq!(fused.output(), apart.output());
            fused.check_gradients(1e-3);
            fused.check_bits();
        }
    }

    #[test]
    fn equals_norm_then_linear() {
        let apart = build(true, 6, |b, p| {
            let x = TestInput::input(b, p, 20);
            let norm = Norm { weight: p.declare("norm.weight", &[20]), eps: 1e-5 };
            let mut weights = Vec::new();
            for (i, outputs) in [9, 17, 4].into_iter().enumerate() {
                let weight = p.declare(format!("w{i}"), &[outputs, 20]);
                p.mark_linear(weight);
                weights.push((weight, (i != 1).then(|| p.declare(format!("b{i}"), &[outputs]))));
            }
            let n = super::super::rms_norm::RmsNorm::push(b, p, x, norm);
            let view = Columns::all(b, n);
            NormLinear::push(b, p, view, None, &weights)
        });
        for (mut fused, mut apart) in nets(true, false).into_iter().zip(apart) {
            assert_eq!(fused.output(), apart.output());
        }
    }
}
