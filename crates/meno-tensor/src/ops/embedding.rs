//! Token embedding: y[t] = W[token[t]].

use crate::params::Param;
use crate::tape::{Act, Ctx, Io, Op};

/// Looks up a row of `weight` for every token.
pub struct Embedding {
    /// `[vocab, hidden]`.
    pub weight: Param,
    /// Output `[t, hidden]`.
    pub y: Act,
    /// Width of a row.
    pub hidden: usize,
}

impl Op for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }
    fn io(&self) -> Io {
        Io { writes: vec![self.y], grad_reads: vec![self.y], ..Io::default() }
    }
    fn forward(&self, ctx: &mut Ctx) {
        let [y] = ctx.acts.get([self.y]);
        let weight = ctx.params.get(self.weight);
        for (y, &token) in y.chunks_exact_mut(self.hidden).zip(&ctx.batch.tokens) {
            y.copy_from_slice(&weight[token as usize * self.hidden..][..self.hidden]);
        }
    }
    fn backward(&self, ctx: &mut Ctx) {
        let [dy] = ctx.grads.get([self.y]);
        let [dweight] = ctx.param_grads.get([self.weight]);
        for (dy, &token) in dy.chunks_exact(self.hidden).zip(&ctx.batch.tokens) {
            let row = &mut dweight[token as usize * self.hidden..][..self.hidden];
            row.iter_mut().zip(dy).for_each(|(g, d)| *g += d);
        }
    }
}
