//! Linear layers: y = x · Wᵀ (+ bias) (+ residual).

use crate::gemm::{Mat, MatMut, Rhs, gemm};
use crate::params::Param;
use crate::tape::{Act, Ctx, Io, Op};

/// y = x · Wᵀ + bias + residual.
pub struct Linear {
    /// Input `[t, in]`.
    pub x: Act,
    /// `[out, in]`.
    pub weight: Param,
    /// `[out]`.
    pub bias: Option<Param>,
    /// `[t, out]`, added to the output; `y` continues its stream (`Builder::stream`), so its gradient is y's.
    pub residual: Option<Act>,
    /// Output `[t, out]`.
    pub y: Act,
    /// Width of the input.
    pub inputs: usize,
    /// Width of the output.
    pub outputs: usize,
}

impl Op for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }
    fn io(&self) -> Io {
        Io {
            reads: [self.x].into_iter().chain(self.residual).collect(),
            writes: vec![self.y],
            saved: vec![self.x],
            grad_reads: vec![self.y],
            grad_writes: vec![self.x],
        }
    }
    fn flops(&self, rows: usize) -> u64 {
        2 * (rows * self.inputs * self.outputs) as u64
    }
    fn forward(&self, ctx: &mut Ctx) {
        let (t, i, o) = (ctx.rows, self.inputs, self.outputs);
        let weight = Rhs::Packed(ctx.params.packed(self.weight));
        if let Some(residual) = self.residual {
            let [y, residual] = ctx.acts.get([self.y, residual]);
            y.copy_from_slice(residual);
        }
        let [x, y] = ctx.acts.get([self.x, self.y]);
        gemm(ctx.precision, 1.0, Mat::new(x, t, i), weight, self.residual.is_some(), MatMut::new(y, t, o));
        if let Some(bias) = self.bias {
            let bias = ctx.params.get(bias);
            y.chunks_exact_mut(o).for_each(|y| y.iter_mut().zip(bias).for_each(|(y, b)| *y += b));
        }
    }
    fn backward(&self, ctx: &mut Ctx) {
        let (t, i, o) = (ctx.rows, self.inputs, self.outputs);
        let add = ctx.adds(self.x);
        let weight = Mat::new(ctx.params.get(self.weight), o, i);
        let [x] = ctx.acts.get([self.x]);
        let [dx, dy] = ctx.grads.get([self.x, self.y]);
        let [dweight] = ctx.param_grads.get([self.weight]);
        gemm(ctx.precision, 1.0, Mat::new(dy, t, o).t(), Rhs::Mat(Mat::new(x, t, i)), true, MatMut::new(dweight, o, i));
        gemm(ctx.precision, 1.0, Mat::new(dy, t, o), Rhs::Mat(weight), add, MatMut::new(dx, t, i));
        if let Some(bias) = self.bias {
            let [dbias] = ctx.param_grads.get([bias]);
            dy.chunks_exact(o).for_each(|dy| dbias.iter_mut().zip(dy).for_each(|(b, d)| *b += d));
        }
    }
}
