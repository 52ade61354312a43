//! Linear, y = x · Wᵀ + bias + residual: the equation of [`crate::ops::linear`].

use super::Kernels;
use crate::backend::Error;
use crate::cuda::columns::add_column_sums;
use crate::cuda::context::Ctx;
use crate::cuda::product::Product;
use crate::cuda::product_kernels::factor;
use crate::ops::linear::Linear;

impl Kernels for Linear {
    fn forward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let (x, y, weight) = (ctx.act(self.x), ctx.act(self.y), ctx.matrix(self.weight));
        let (bias, residual) = (ctx.optional(self.bias), self.residual.map_or(0, |residual| ctx.act(residual).at));
        Product { bias, residual, ..Product::forward(ctx, x, weight, y) }.run(ctx)
    }
    fn backward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let (x, dy, dx) = (ctx.act(self.x), ctx.grad(self.y), ctx.give_grad(self.x));
        if let Some(bias) = self.bias {
            add_column_sums(ctx, dy, ctx.param_grad(bias), ctx.rows)?;
        }
        let dy = factor(ctx, dy, ctx.rows)?;
        Product::weight_gradient(ctx, dy, x, ctx.param_grad(self.weight)).run(ctx)?;
        Product::input_gradient(ctx, dy, ctx.matrix(self.weight), dx).run(ctx)
    }
}
