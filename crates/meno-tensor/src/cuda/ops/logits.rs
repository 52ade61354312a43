//! Logits, z = RMSNorm(x) · Wᵀ of the rows that generation requests, and tokens chosen from logits: the equation of
//! [`crate::ops::logits`].

use super::Kernels;
use super::head::{GatheredRows, LOGIT_BYTES};
use crate::backend::Error;
use crate::cuda::context::{Ctx, Tensor};
use crate::cuda::driver::Launch;
use crate::cuda::product::Product;
use crate::cuda::results::Kind;
use crate::cuda::sampling::{Row, Sampled};
use crate::ops::logits::Logits;
use crate::tape::Dtype;

impl Logits {
    /// Computes the logits of `rows`.
    fn of_rows(&self, ctx: &mut Ctx, rows: &[u32], logits: Tensor) -> Result<(), Error> {
        let x = ctx.act(self.x);
        // The rows of a step of decoding are the same in the next one.
        let step = ctx.batch.segments.iter().all(|segment| segment.rows.len() == 1);
        let rows_at = if step { ctx.constants(rows)? } else { ctx.upload(rows)? };
        let gathered = GatheredRows::allocate(ctx, x, rows.len())?.gather(ctx, x, self.norm, rows, rows_at)?;
        Product::forward(ctx, gathered.n, ctx.matrix(self.weight), logits).rows(rows.len()).run(ctx)
    }

    /// Chooses the tokens of `rows`, which are those of [`Batch::sampled_rows`](crate::tape::Batch::sampled_rows) from
    /// `first`.
    fn sample(&self, ctx: &mut Ctx, rows: &[u32], first: usize) -> Result<(), Error> {
        let logits = ctx.temporary(rows.len(), self.vocab, Dtype::F32)?;
        let exps = ctx.temporary(rows.len(), self.vocab, Dtype::F32)?;
        self.of_rows(ctx, rows, logits)?;
        let results = ctx.results.add(Kind::Sampled { first }, rows.len() * size_of::<Sampled>() / 4)?;
        let settings = ctx.on_card.sampled_rows() + (first * size_of::<Row>()) as u64;
        let args = [results.into(), exps.into(), logits.into(), settings.into(), self.vocab.into()];
        ctx.launch("sample_f32", Launch::blocks(rows.len(), 512), args)
    }
}

impl Kernels for Logits {
    fn forward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let rows: Vec<u32> = ctx.batch.logit_rows.iter().map(|&row| row as u32).collect();
        if !rows.is_empty() {
            let at = ctx.results.add(Kind::Logits, rows.len() * self.vocab)?;
            self.of_rows(ctx, &rows, Tensor::new(at, Dtype::F32, self.vocab))?;
        }
        let sampled: Vec<u32> = ctx.batch.sampled_rows.iter().map(|&(row, _)| row as u32).collect();
        let most = (LOGIT_BYTES / (self.vocab * size_of::<f32>())).max(1);
        for (i, rows) in sampled.chunks(most).enumerate() {
            let mark = ctx.scratch.borrow().mark();
            self.sample(ctx, rows, i * most)?;
            ctx.scratch.borrow_mut().free_from(mark);
        }
        Ok(())
    }
    fn backward(&self, _: &mut Ctx) -> Result<(), Error> {
        unreachable!("invariant: logits are for inference; training uses Head");
    }
}
