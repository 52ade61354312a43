//! Logits, z = RMSNorm(x) · Wᵀ of the rows that generation requests: the equation of [`crate::ops::logits`].

use super::Kernels;
use super::head::GatheredRows;
use crate::backend::Error;
use crate::cuda::context::{Ctx, Tensor};
use crate::cuda::product::Product;
use crate::cuda::results::Kind;
use crate::ops::logits::Logits;
use crate::tape::Dtype;

impl Kernels for Logits {
    fn forward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let rows: Vec<u32> = ctx.batch.logit_rows.iter().map(|&row| row as u32).collect();
        if rows.is_empty() {
            ctx.out.logits.clear();
            return Ok(());
        }
        let x = ctx.act(self.x);
        // The rows of a step of decoding are the same in the next one.
        let step = ctx.batch.segments.iter().all(|segment| segment.rows.len() == 1);
        let rows_at = if step { ctx.constants(&rows)? } else { ctx.upload(&rows)? };
        let memory = GatheredRows::allocate(ctx, x, rows.len())?;
        let gathered = memory.gather(ctx, x, self.norm, &rows, rows_at)?;
        let logits = Tensor::new(ctx.results.add(Kind::Logits, rows.len() * self.vocab)?, Dtype::F32, self.vocab);
        Product::forward(ctx, gathered.n, ctx.matrix(self.weight), logits).rows(rows.len()).run(ctx)
    }
    fn backward(&self, _: &mut Ctx) -> Result<(), Error> {
        unreachable!("invariant: logits are for inference; training uses Head");
    }
}
