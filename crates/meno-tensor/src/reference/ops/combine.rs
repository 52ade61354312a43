//! Combine, y = residual + Σ_k w_k · (the row of the token's k-th expert): the equation of [`crate::ops::combine`].

use super::Kernels;
use super::dispatch::{Order, rows_of_tokens};
use crate::ops::combine::Combine;
use crate::reference::context::Ctx;
use crate::reference::math::wide;

impl Kernels for Combine {
    fn forward(&self, ctx: &mut Ctx) {
        let (top_k, hidden) = (self.sorted.top_k, self.sorted.hidden);
        let order = Order::read(ctx, &self.sorted);
        let (x, weights) = (ctx.value(self.x), ctx.value(self.routes.weights));
        let mut y = match self.residual {
            Some(residual) => wide(&ctx.value(residual)),
            None => vec![0.0; ctx.rows * hidden],
        };
        for (pair, &row) in order.rows.iter().enumerate() {
            let (weight, x) = (weights[pair] as f64, &x[row as usize * hidden..][..hidden]);
            let y = &mut y[pair / top_k * hidden..][..hidden];
            y.iter_mut().zip(x).for_each(|(y, &x)| *y += weight * x as f64);
        }
        ctx.set(self.y, &y);
    }
    /// Gives each expert's row the dL/dy of its token, before the weight is applied.
    fn backward(&self, ctx: &mut Ctx) {
        let order = Order::read(ctx, &self.sorted);
        let dx = rows_of_tokens(&order, &self.sorted, &ctx.grad(self.y));
        ctx.give_grad(self.x, &dx);
    }
}
