//! NormLinear, y = \[n·W₁ᵀ + b₁ | n·W₂ᵀ + b₂ | …\], n = RMSNorm(x): the equation of [`crate::ops::norm_linear`].
//!
//! Fused weights are multiplied one by one: an element of the product does not depend on the other columns.

use super::Kernels;
use super::rms_norm::{norm_rows, norm_rows_backward};
use crate::ops::Columns;
use crate::ops::norm_linear::{NormLinear, Projection};
use crate::reference::context::Ctx;
use crate::reference::math::{Mat, add, product, stored, sum_rows, wide};

/// Returns the columns of `y` that a projection writes.
fn outputs(op: &NormLinear, p: &Projection) -> Columns {
    Columns { act: op.y, ld: op.outputs, at: p.at, cols: p.outputs }
}

/// Returns the input of the products: x, or its norm.
fn input(op: &NormLinear, ctx: &Ctx) -> Vec<f32> {
    let x = ctx.columns(op.x);
    match op.norm {
        None => x,
        Some(norm) => norm_rows(&ctx.weights.get(norm.weight), norm.eps, &x),
    }
}

impl Kernels for NormLinear {
    fn forward(&self, ctx: &mut Ctx) {
        let n = input(self, ctx);
        let n = Mat::new(&n, ctx.rows, self.x.cols);
        for p in &self.projections {
            let weight = ctx.weights.get(p.weight);
            let precision = ctx.weights.precision(p.weight, ctx.precision);
            let mut y = product(precision, n, Mat::new(&weight, p.outputs, self.x.cols).t());
            if let Some(bias) = p.bias {
                let bias = wide(&ctx.weights.get(bias));
                y.chunks_exact_mut(p.outputs).for_each(|y| add(y, &bias));
            }
            ctx.set_columns(outputs(self, p), &y);
        }
    }
    fn backward(&self, ctx: &mut Ctx) {
        let n = input(self, ctx);
        let mut dn = vec![0.0; n.len()];
        let n = Mat::new(&n, ctx.rows, self.x.cols);
        for p in &self.projections {
            let dy = ctx.grad_columns(outputs(self, p));
            let (d, weight) = (Mat::new(&dy, ctx.rows, p.outputs), ctx.weights.get(p.weight));
            let dweight = product(ctx.precision, d.t(), n);
            add(&mut dn, &product(ctx.precision, d, Mat::new(&weight, p.outputs, self.x.cols)));
            ctx.give_param_grad(p.weight, &dweight);
            if let Some(bias) = p.bias {
                ctx.give_param_grad(bias, &sum_rows(&dy, p.outputs));
            }
        }
        let Some(norm) = self.norm else { return ctx.give_grad_columns(self.x, &dn) };
        let (gain, x) = (ctx.weights.get(norm.weight), ctx.columns(self.x));
        let [dx, dgain] = norm_rows_backward(&gain, norm.eps, &x, &stored(&dn));
        ctx.give_grad_columns(self.x, &dx);
        ctx.give_param_grad(norm.weight, &dgain);
    }
}
