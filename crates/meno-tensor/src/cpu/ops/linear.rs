//! Linear layers.

use super::Kernels;
use super::rows::{add_rows, for_rows};
use crate::cpu::context::Ctx;
use crate::cpu::gemm::{Mat, MatMut, Rhs, gemm};
use crate::cpu::row_kernels::axpy;
use crate::ops::linear::Linear;

impl Kernels for Linear {
    fn forward(&self, ctx: &mut Ctx) {
        let (t, i, o) = (ctx.rows, self.inputs, self.outputs);
        if let Some(residual) = self.residual {
            let [y, residual] = ctx.acts.get([self.y, residual]);
            y.copy_from_slice(residual);
        }
        let [x, y] = ctx.acts.get([self.x, self.y]);
        let (x, accumulate) = (Mat::new(x, t, i), self.residual.is_some());
        ctx.params.multiply(ctx.precision, x, self.weight, accumulate, MatMut::new(y, t, o));
        if let Some(bias) = self.bias {
            let bias = ctx.params.get(bias);
            for_rows(y, o, |_, y| axpy(1.0, bias, y));
        }
    }
    fn backward(&self, ctx: &mut Ctx) {
        let (t, i, o) = (ctx.rows, self.inputs, self.outputs);
        let add = ctx.adds(self.x);
        let weight = ctx.params.matrix(self.weight);
        let [x] = ctx.acts.get([self.x]);
        let [dx, dy] = ctx.grads.get([self.x, self.y]);
        let [dweight] = ctx.param_grads.get([self.weight]);
        gemm(ctx.precision, 1.0, Mat::new(dy, t, o).t(), Rhs::Mat(Mat::new(x, t, i)), true, MatMut::new(dweight, o, i));
        gemm(ctx.precision, 1.0, Mat::new(dy, t, o), Rhs::Mat(weight), add, MatMut::new(dx, t, i));
        if let Some(bias) = self.bias {
            let [dbias] = ctx.param_grads.get([bias]);
            add_rows(dbias, dy, o);
        }
    }
}
