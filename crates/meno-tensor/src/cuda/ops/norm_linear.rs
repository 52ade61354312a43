//! NormLinear, y = \[n·W₁ᵀ + b₁ | n·W₂ᵀ + b₂ | …\], n = RMSNorm(x): the equation of [`crate::ops::norm_linear`].
//!
//! Backward recomputes n.

use super::Kernels;
use super::rms_norm::{norm, norm_backward};
use crate::backend::Error;
use crate::cuda::columns::add_column_sums;
use crate::cuda::context::{Ctx, Tensor};
use crate::cuda::driver::Launch;
use crate::cuda::product::Product;
use crate::cuda::product_kernels::factor;
use crate::ops::norm_linear::NormLinear;
use crate::tape::Dtype;

/// Returns the input of the products: x, or its norm in scratch memory.
fn input(op: &NormLinear, ctx: &mut Ctx) -> Result<Tensor, Error> {
    let x = ctx.columns(op.x);
    let Some(gain) = &op.norm else { return Ok(x) };
    let n = ctx.temporary(ctx.rows, x.cols, ctx.dtype())?;
    norm(ctx, gain, x, n, ctx.rows)?;
    Ok(n)
}

/// The most fused projections whose biases one kernel joins.
const JOINED: usize = 3;

/// Returns the biases of fused weights side by side: where they lie, or in scratch memory, with zeros for absent ones;
/// null if all are.
fn joined_biases(op: &NormLinear, ctx: &Ctx) -> Result<u64, Error> {
    if op.projections.iter().all(|p| p.bias.is_none()) {
        return Ok(0);
    }
    let adjacent = op.projections.windows(2).all(|pair| {
        let [first, second] = [&pair[0], &pair[1]].map(|p| ctx.optional(p.bias));
        first != 0 && second == first + (pair[0].outputs * size_of::<f32>()) as u64
    });
    if adjacent {
        return Ok(ctx.optional(op.projections[0].bias));
    }
    let mut parts = [(0, 0); JOINED];
    for (part, p) in parts.iter_mut().zip(&op.projections) {
        *part = (ctx.optional(p.bias), p.outputs);
    }
    let [a, b, c] = parts;
    let y = ctx.temporary(1, op.outputs, Dtype::F32)?;
    let args = [y.into(), a.0.into(), b.0.into(), c.0.into(), a.1.into(), b.1.into(), c.1.into()];
    ctx.launch("join", Launch::elements(op.outputs), args)?;
    Ok(y.at)
}

impl Kernels for NormLinear {
    fn forward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let (n, y) = (input(self, ctx)?, ctx.act(self.y));
        if self.fused.is_some() && self.projections.len() <= JOINED {
            let (weight, bias) = (ctx.matrix(self.projections[0].weight), joined_biases(self, ctx)?);
            return Product { bias, ..Product::forward(ctx, n, weight, y) }.run(ctx);
        }
        for p in &self.projections {
            let product = Product::forward(ctx, n, ctx.matrix(p.weight), y.columns(p.at, p.outputs));
            Product { bias: ctx.optional(p.bias), ..product }.run(ctx)?;
        }
        Ok(())
    }
    fn backward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let (n, dy, x) = (input(self, ctx)?, ctx.grad(self.y), ctx.columns(self.x));
        for p in &self.projections {
            let Some(bias) = p.bias else { continue };
            add_column_sums(ctx, dy.columns(p.at, p.outputs), ctx.param_grad(bias), ctx.rows)?;
        }
        let (dx, adds) = ctx.give_grad_columns(self.x)?;
        let dn = match &self.norm {
            None => (dx, adds),
            Some(_) => (ctx.temporary(ctx.rows, x.cols, ctx.dtype())?, false),
        };
        for (i, (weight, at, outputs)) in self.matrices().enumerate() {
            let dy = factor(ctx, dy.columns(at, outputs), ctx.rows)?;
            Product::weight_gradient(ctx, dy, n, ctx.param_grad(weight)).run(ctx)?;
            Product::input_gradient(ctx, dy, ctx.matrix(weight), (dn.0, dn.1 || i > 0)).run(ctx)?;
        }
        match &self.norm {
            None => Ok(()),
            Some(gain) => norm_backward(ctx, gain, x, dn.0, (dx, adds), ctx.rows),
        }
    }
}
