//! Logits of the rows that generation requests.

use super::Kernels;
use super::rows::for_rows;
use crate::cpu::context::Ctx;
use crate::cpu::gemm::{Mat, MatMut};
use crate::cpu::row_kernels;
use crate::ops::logits::Logits;

/// Rows normalized at a time.
const ROWS: usize = 256;

impl Kernels for Logits {
    fn scratch(&self, rows: usize) -> usize {
        rows.min(ROWS) * self.hidden
    }
    fn forward(&self, ctx: &mut Ctx) {
        let (hidden, vocab) = (self.hidden, self.vocab);
        let [x] = ctx.acts.get([self.x]);
        let gain = self.norm.map(|norm| (ctx.params.get(norm.weight), norm.eps));
        let rows = &ctx.batch.logit_rows;
        ctx.out.logits.resize(rows.len() * vocab, 0.0);
        for (rows, logits) in rows.chunks(ROWS).zip(ctx.out.logits.chunks_mut(ROWS * vocab)) {
            let m = rows.len();
            let n = &mut ctx.scratch[..m * hidden];
            for_rows(n, hidden, |i, n| {
                let x = &x[rows[i] * hidden..][..hidden];
                match gain {
                    Some((gain, eps)) => row_kernels::rms_norm(gain, eps, x, n),
                    None => n.copy_from_slice(x),
                }
            });
            let (n, logits) = (Mat::new(n, m, hidden), MatMut::new(logits, m, vocab));
            ctx.params.multiply(ctx.precision, n, self.weight, false, logits);
        }
    }
    fn backward(&self, _ctx: &mut Ctx) {
        panic!("invariant: logits are for inference; training uses Head");
    }
}
