//! QkNorm, RMSNorm of each head with one gain.

use super::Kernels;
use super::rms_norm::{norm_heads, norm_heads_backward};
use crate::backend::Error;
use crate::cuda::context::Ctx;
use crate::ops::qk_norm::QkNorm;

/// Returns the number of rows, and of heads in a row.
fn shape(op: &QkNorm, ctx: &Ctx) -> [usize; 2] {
    [ctx.rows, op.x.cols / ctx.values(op.norm.weight).cols]
}

impl Kernels for QkNorm {
    fn forward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        norm_heads(ctx, &self.norm, ctx.columns(self.x), ctx.columns(self.y), shape(self, ctx))
    }
    fn backward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let (x, dy, dx) = (ctx.columns(self.x), ctx.grad_columns(self.y), ctx.give_grad_columns(self.x)?);
        let shape = shape(self, ctx);
        norm_heads_backward(ctx, &self.norm, x, dy, dx, shape)
    }
}
