//! The second half of a SwiGLU MLP. Backward recomputes silu(gate) ⊙ up.

use super::Kernels;
use super::rows::for_rows;
use crate::cpu::context::Ctx;
use crate::cpu::gemm::{Mat, MatMut, Rhs, gemm};
use crate::cpu::row_kernels;
use crate::ops::swiglu::SwigluLinear;

impl Kernels for SwigluLinear {
    fn scratch(&self, rows: usize) -> usize {
        2 * rows * self.inputs
    }
    fn forward(&self, ctx: &mut Ctx) {
        let (t, i, o) = (ctx.rows, self.inputs, self.outputs);
        if let Some(residual) = self.residual {
            let [y, residual] = ctx.acts.get([self.y, residual]);
            y.copy_from_slice(residual);
        }
        let [gate_up, y] = ctx.acts.get([self.gate_up, self.y]);
        let h = &mut ctx.scratch[..t * i];
        for_rows(h, i, |r, h| row_kernels::swiglu(&gate_up[r * 2 * i..][..2 * i], h));
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
        for_rows(h, i, |r, h| row_kernels::swiglu(&gate_up[r * 2 * i..][..2 * i], h));
        gemm(ctx.precision, 1.0, dy.t(), Rhs::Mat(Mat::new(h, t, i)), true, MatMut::new(dweight, o, i));
        gemm(ctx.precision, 1.0, dy, Rhs::Mat(ctx.params.matrix(self.weight)), false, MatMut::new(dh, t, i));
        let dh = &*dh;
        for_rows(dgate_up, 2 * i, |r, d| {
            row_kernels::swiglu_backward(&gate_up[r * 2 * i..][..2 * i], &dh[r * i..][..i], d, add)
        });
    }
}
