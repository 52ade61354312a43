//! The second half of a SwiGLU MLP: y = residual + (silu(gate) ⊙ up) · W_downᵀ (Shazeer, arXiv 2002.05202, eq. 6).
//!
//! gate and up lie side by side in one activation; silu(gate) ⊙ up is computed again in backward.

use super::output;
use super::rows::for_rows;
use crate::gemm::{Mat, MatMut, Rhs, gemm};
use crate::lanes;
use crate::params::{Param, Params};
use crate::tape::{Act, Builder, Ctx, Io, Op};

/// y = residual + swiglu(gate_up) · Wᵀ.
pub struct SwigluLinear {
    /// `[t, 2 · inputs]`: gate, then up.
    pub gate_up: Act,
    /// down_proj, `[out, inputs]`.
    pub weight: Param,
    /// `[t, out]`, added to the output, which continues its stream.
    pub residual: Option<Act>,
    /// Output `[t, out]`.
    pub y: Act,
    /// Width of gate and of up.
    pub inputs: usize,
    /// Width of the output.
    pub outputs: usize,
}

impl SwigluLinear {
    /// Appends residual + swiglu(gate_up) · weightᵀ; returns its output.
    pub fn push(b: &mut Builder, params: &Params, gate_up: Act, weight: Param, residual: Option<Act>) -> Act {
        let [outputs, inputs] = params.info(weight).shape[..] else { panic!("invariant: a linear weight is a matrix") };
        assert!(b.cols(gate_up) == 2 * inputs, "invariant: {} takes {inputs} inputs", params.info(weight).name);
        let y = output(b, residual, outputs);
        b.push(SwigluLinear { gate_up, weight, residual, y, inputs, outputs });
        y
    }
}

impl Op for SwigluLinear {
    fn name(&self) -> &'static str {
        "swiglu_linear"
    }
    fn io(&self) -> Io {
        Io {
            reads: [self.gate_up].into_iter().chain(self.residual).collect(),
            writes: vec![self.y],
            saved: vec![self.gate_up],
            grad_reads: vec![self.y],
            grad_writes: vec![self.gate_up],
        }
    }
    fn scratch(&self, rows: usize) -> usize {
        2 * rows * self.inputs
    }
    fn flops(&self, rows: usize) -> u64 {
        2 * (rows * self.inputs * self.outputs) as u64
    }
    fn forward(&self, ctx: &mut Ctx) {
        let (t, i, o) = (ctx.rows, self.inputs, self.outputs);
        if let Some(residual) = self.residual {
            let [y, residual] = ctx.acts.get([self.y, residual]);
            y.copy_from_slice(residual);
        }
        let [gate_up, y] = ctx.acts.get([self.gate_up, self.y]);
        let h = &mut ctx.scratch[..t * i];
        for_rows(h, i, |r, h| lanes::swiglu(&gate_up[r * 2 * i..][..2 * i], h));
        let (h, accumulate) = (Mat::new(h, t, i), self.residual.is_some());
        ctx.params.multiply(ctx.precision, h, self.weight, accumulate, MatMut::new(y, t, o));
    }
    fn backward(&self, ctx: &mut Ctx) {
        let (t, i, o) = (ctx.rows, self.inputs, self.outputs);
        let add = ctx.adds(self.gate_up);
        let [gate_up] = ctx.acts.get([self.gate_up]);
        let [dgate_up, dy] = ctx.grads.get([self.gate_up, self.y]);
        let [dweight] = ctx.param_grads.get([self.weight]);
        let dy = Mat::new(dy, t, o);
        let (h, dh) = ctx.scratch[..2 * t * i].split_at_mut(t * i);
        for_rows(h, i, |r, h| lanes::swiglu(&gate_up[r * 2 * i..][..2 * i], h));
        gemm(ctx.precision, 1.0, dy.t(), Rhs::Mat(Mat::new(h, t, i)), true, MatMut::new(dweight, o, i));
        gemm(ctx.precision, 1.0, dy, Rhs::Mat(ctx.params.matrix(self.weight)), false, MatMut::new(dh, t, i));
        let dh = &*dh;
        for_rows(dgate_up, 2 * i, |r, d| {
            lanes::swiglu_backward(&gate_up[r * 2 * i..][..2 * i], &dh[r * i..][..i], d, add)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Probe, build};

    #[test]
    fn gradients() {
        for residual in [false, true] {
            let mut net = build(true, 5, |b, p| {
                let gate_up = Probe::input(b, p, 2 * 21);
                let stream = residual.then(|| Probe::stream(b, p, 13));
                let weight = p.declare("down_proj.weight", &[13, 21]);
                p.mark_linear(weight);
                SwigluLinear::push(b, p, gate_up, weight, stream)
            });
            net.check_gradients(1e-3);
            net.check_bits();
        }
    }
}
