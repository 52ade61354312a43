//! Token embedding: y\[t\] = W\[token\[t\]\], and the embedding of the next token for the MTP module.

use super::rows::for_rows;
use crate::batch::Batch;
use crate::lanes::axpy;
use crate::params::{Param, Params};
use crate::pool;
use crate::tape::{Act, Builder, Ctx, Io, Op};

/// Looks up a row of `weight` for every token.
pub struct Embedding {
    /// `[vocab, hidden]`.
    pub weight: Param,
    /// Output `[t, hidden]`.
    pub y: Act,
    /// Width of a row.
    pub hidden: usize,
    /// Whether row i looks up token i + 1 of its sequence instead (MTP: `Emb(t_{i+1})`, DeepSeek-V3 eq. 21); the
    /// last row of a sequence is then zero.
    pub next: bool,
}

impl Embedding {
    /// Appends the look-up of every row's token; returns its output.
    pub fn push(b: &mut Builder, params: &Params, weight: Param) -> Act {
        Self::append(b, params, weight, false)
    }

    /// Appends the look-up of every row's next token; returns its output.
    pub fn push_next(b: &mut Builder, params: &Params, weight: Param) -> Act {
        Self::append(b, params, weight, true)
    }

    fn append(b: &mut Builder, params: &Params, weight: Param, next: bool) -> Act {
        let hidden = params.info(weight).shape[1];
        let y = b.act(hidden);
        b.push(Embedding { weight, y, hidden, next });
        y
    }

    /// Calls `f(row, token)` for every row that looks one up.
    fn for_tokens(&self, batch: &Batch, mut f: impl FnMut(usize, usize)) {
        let shift = self.next as usize;
        for segment in &batch.segments {
            for row in segment.rows.start..segment.rows.end.saturating_sub(shift) {
                f(row, batch.tokens[row + shift] as usize);
            }
        }
    }
}

impl Op for Embedding {
    fn name(&self) -> &'static str {
        if self.next { "next_embedding" } else { "embedding" }
    }
    fn io(&self) -> Io {
        Io { writes: vec![self.y], grad_reads: vec![self.y], ..Io::default() }
    }
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
        // Every thread owns a range of the vocabulary and adds the rows of its tokens in order.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::build;

    #[test]
    fn gradients() {
        for next in [false, true] {
            let mut net = build(true, 9, |b, p| {
                let weight = p.declare("model.embed_tokens.weight", &[crate::check::VOCAB, 12]);
                Embedding::append(b, p, weight, next)
            });
            net.check_gradients(1e-3);
            net.check_bits();
        }
    }

    #[test]
    fn the_last_row_of_a_sequence_has_no_next_token() {
        let mut net = build(true, 9, |b, p| {
            let weight = p.declare("model.embed_tokens.weight", &[crate::check::VOCAB, 2]);
            Embedding::push_next(b, p, weight)
        });
        let y = net.output();
        let weight = net.params.data()[..].to_vec();
        for segment in &net.batch.segments {
            for row in segment.rows.clone() {
                let expected = match row + 1 < segment.rows.end {
                    true => weight[net.batch.tokens[row + 1] as usize * 2..][..2].to_vec(),
                    false => vec![0.0, 0.0],
                };
                assert_eq!(y[row * 2..][..2], expected);
            }
        }
    }
}
