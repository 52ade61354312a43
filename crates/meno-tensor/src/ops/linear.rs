//! Linear layers: y = x · Wᵀ (+ bias) (+ residual).

use super::rows::{add_rows, for_rows};
use super::{View, output};
use crate::gemm::{Mat, MatMut, Rhs, gemm};
use crate::lanes::axpy;
use crate::params::{Param, Params};
use crate::tape::{Act, Builder, Ctx, Io, Op};

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

impl Linear {
    /// Appends x · weightᵀ (+ bias) (+ residual, whose stream the output continues); returns its output.
    pub fn push(
        b: &mut Builder,
        params: &Params,
        x: Act,
        weight: Param,
        bias: Option<Param>,
        residual: Option<Act>,
    ) -> Act {
        let [outputs, inputs] = params.info(weight).shape[..] else { panic!("invariant: a linear weight is a matrix") };
        assert!(View::all(b, x).cols == inputs, "invariant: {} takes {inputs} inputs", params.info(weight).name);
        let y = output(b, residual, outputs);
        b.push(Linear { x, weight, bias, residual, y, inputs, outputs });
        y
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Probe, build};

    #[test]
    fn gradients() {
        for residual in [false, true] {
            let mut net = build(true, 8, |b, p| {
                let x = Probe::input(b, p, 19);
                let stream = residual.then(|| Probe::stream(b, p, 11));
                let weight = p.declare("w", &[11, 19]);
                p.mark_linear(weight);
                let bias = p.declare("b", &[11]);
                Linear::push(b, p, x, weight, Some(bias), stream)
            });
            net.check_gradients(1e-3);
            net.check_bits();
        }
    }
}
