//! Linear, y = x · Wᵀ + bias + residual: the equation of [`crate::ops::linear`].

use super::Kernels;
use crate::ops::linear::Linear;
use crate::reference::context::Ctx;
use crate::reference::math::{Mat, add, product, sum_rows, wide};

impl Kernels for Linear {
    fn forward(&self, ctx: &mut Ctx) {
        let (x, weight) = (ctx.value(self.x), ctx.weights.get(self.weight));
        let precision = ctx.weights.precision(self.weight, ctx.precision);
        let (x, weight) = (Mat::new(&x, ctx.rows, self.inputs), Mat::new(&weight, self.outputs, self.inputs));
        let mut y = product(precision, x, weight.t());
        if let Some(residual) = self.residual {
            add(&mut y, &wide(&ctx.value(residual)));
        }
        if let Some(bias) = self.bias {
            let bias = wide(&ctx.weights.get(bias));
            y.chunks_exact_mut(self.outputs).for_each(|y| add(y, &bias));
        }
        ctx.set(self.y, &y);
    }
    fn backward(&self, ctx: &mut Ctx) {
        let (x, dy, weight) = (ctx.value(self.x), ctx.grad(self.y), ctx.weights.get(self.weight));
        let (x, d) = (Mat::new(&x, ctx.rows, self.inputs), Mat::new(&dy, ctx.rows, self.outputs));
        let dweight = product(ctx.precision, d.t(), x);
        let dx = product(ctx.precision, d, Mat::new(&weight, self.outputs, self.inputs));
        ctx.give_param_grad(self.weight, &dweight);
        ctx.give_grad(self.x, &dx);
        if let Some(bias) = self.bias {
            ctx.give_param_grad(bias, &sum_rows(&dy, self.outputs));
        }
    }
}
