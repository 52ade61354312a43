//! The weighted sum of the experts' outputs.

use super::Kernels;
use super::dispatch::{Order, gather};
use super::rows::for_rows;
use crate::cpu::context::Ctx;
use crate::cpu::row_kernels::axpy;
use crate::ops::combine::Combine;

impl Kernels for Combine {
    fn forward(&self, ctx: &mut Ctx) {
        let (k, h) = (self.sorted.top_k, self.sorted.hidden);
        if let Some(residual) = self.residual {
            let [y, residual] = ctx.acts.get([self.y, residual]);
            y.copy_from_slice(residual);
        }
        let order = Order::read(ctx.ints.get(self.sorted.order).get(), &self.sorted);
        let [x, weights, y] = ctx.acts.get([self.x, self.routes.weights, self.y]);
        for_rows(y, h, |r, y| {
            if self.residual.is_none() {
                y.fill(0.0);
            }
            for pair in r * k..(r + 1) * k {
                axpy(weights[pair], &x[order.rows[pair] as usize * h..][..h], y);
            }
        });
    }
    fn backward(&self, ctx: &mut Ctx) {
        let (k, h) = (self.sorted.top_k, self.sorted.hidden);
        let order = Order::read(ctx.ints.get(self.sorted.order).get(), &self.sorted);
        let [dx, dy] = ctx.grads.get([self.x, self.y]);
        gather(dy, h, dx, |row| order.pairs[row] as usize / k);
    }
}
