//! Embedding, y\[t\] = W\[token\[t\]\]: the equation of [`crate::ops::embedding`].

use super::Kernels;
use crate::ops::embedding::Embedding;
use crate::reference::context::Ctx;
use crate::reference::math::{add, wide};

impl Kernels for Embedding {
    fn forward(&self, ctx: &mut Ctx) {
        let mut y = vec![0.0; ctx.rows * self.hidden];
        self.for_tokens(ctx.batch, |row, token| {
            let values = wide(&ctx.weights.row(self.weight, token, self.hidden));
            y[row * self.hidden..][..self.hidden].copy_from_slice(&values);
        });
        ctx.set(self.y, &y);
    }
    fn backward(&self, ctx: &mut Ctx) {
        let dy = ctx.grad(self.y);
        let mut dweight = vec![0.0; ctx.weights.range(self.weight).len()];
        self.for_tokens(ctx.batch, |row, token| {
            let dy = wide(&dy[row * self.hidden..][..self.hidden]);
            add(&mut dweight[token * self.hidden..][..self.hidden], &dy);
        });
        ctx.give_param_grad(self.weight, &dweight);
    }
}
