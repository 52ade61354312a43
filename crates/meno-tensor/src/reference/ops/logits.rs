//! Logits, z = RMSNorm(x) · Wᵀ of the rows that generation requests: the equation of [`crate::ops::logits`].

use super::Kernels;
use super::head::logits;
use crate::ops::logits::Logits;
use crate::reference::context::Ctx;

impl Kernels for Logits {
    fn forward(&self, ctx: &mut Ctx) {
        let rows: Vec<u32> = ctx.batch.logit_rows.iter().map(|&row| row as u32).collect();
        ctx.out.logits = logits(ctx, &ctx.value(self.x), self.norm, self.weight, &rows).1;
    }
    fn backward(&self, _: &mut Ctx) {
        panic!("invariant: logits are for inference; training uses Head");
    }
}
