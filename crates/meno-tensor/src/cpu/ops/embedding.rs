//! Token embedding.

use super::Kernels;
use super::rows::for_rows;
use crate::cpu::context::Ctx;
use crate::cpu::row_kernels::axpy;
use crate::ops::embedding::Embedding;
use crate::pool;

impl Kernels for Embedding {
    fn forward(&self, ctx: &mut Ctx) {
        let [y] = ctx.acts.get([self.y]);
        let (params, weight) = (ctx.params, self.weight);
        let tokens = &ctx.batch.tokens;
        if !self.next {
            for_rows(y, self.hidden, |r, y| params.copy_row(weight, tokens[r] as usize, y));
            return;
        }
        y.fill(0.0);
        self.for_tokens(ctx.batch, |row, token| {
            params.copy_row(weight, token, &mut y[row * self.hidden..][..self.hidden]);
        });
    }
    fn backward(&self, ctx: &mut Ctx) {
        let hidden = self.hidden;
        let [dy] = ctx.grads.get([self.y]);
        let [dweight] = ctx.param_grads.get([self.weight]);
        // Each thread owns a range of the vocabulary and adds the rows of its tokens in order.
        let part = (dweight.len() / hidden).div_ceil(pool::threads()).max(1);
        let (dy, batch) = (&*dy, ctx.batch);
        pool::for_chunks(dweight, part * hidden, |task, dweight| {
            self.for_tokens(batch, |row, token| {
                if token / part == task {
                    axpy(1.0, &dy[row * hidden..][..hidden], &mut dweight[(token - task * part) * hidden..][..hidden]);
                }
            });
        });
    }
}
