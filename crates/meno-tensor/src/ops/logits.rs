//! Logits of the rows that generation asks for: final norm and LM head, row by row the numbers of [`super::head`].

use super::rms_norm::Norm;
use super::rows::for_rows;
use crate::gemm::{Mat, MatMut};
use crate::lanes;
use crate::params::{Param, Params};
use crate::tape::{Act, Builder, Ctx, Io, Op};

/// The op: `Batch::logit_rows` of x to `Outputs::logits`. Inference only.
pub struct Logits {
    /// Input `[t, hidden]`.
    pub x: Act,
    /// The final norm, if not applied before.
    pub norm: Option<Norm>,
    /// `[vocab, hidden]`: lm_head, or the embedding where they are tied.
    pub weight: Param,
    /// Width of the input.
    pub hidden: usize,
    /// Number of tokens.
    pub vocab: usize,
}

/// Rows normed at a time.
const ROWS: usize = 256;

impl Logits {
    /// Appends the logits of `x`.
    pub fn push(b: &mut Builder, params: &Params, x: Act, norm: Option<Norm>, weight: Param) {
        let [vocab, hidden] = params.info(weight).shape[..] else { panic!("invariant: a linear weight is a matrix") };
        b.push(Logits { x, norm, weight, hidden, vocab });
    }
}

impl Op for Logits {
    fn name(&self) -> &'static str {
        "logits"
    }
    fn io(&self) -> Io {
        Io { reads: vec![self.x], ..Io::default() }
    }
    fn scratch(&self, rows: usize) -> usize {
        rows.min(ROWS) * self.hidden
    }
    fn flops(&self, rows: usize) -> u64 {
        2 * (rows * self.hidden * self.vocab) as u64
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
                    Some((gain, eps)) => lanes::rms_norm(gain, eps, x, n),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::IGNORE;
    use crate::check::{Probe, VOCAB, build_loss};
    use crate::gemm::Precision;
    use crate::ops::head::Head;
    use crate::ops::log_softmax::log_softmax_row;

    #[test]
    fn same_bits_as_the_loss_head() {
        for precision in [Precision::F32, Precision::Bf16] {
            let mut net = build_loss(false, 11, |b, p| {
                let x = Probe::input(b, p, 14);
                let norm = Some(Norm { weight: p.declare("model.norm.weight", &[14]), eps: 1e-6 });
                let weight = p.declare("lm_head.weight", &[VOCAB, 14]);
                p.mark_linear(weight);
                Head::push(b, p, x, norm, weight, 0);
                Logits::push(b, p, x, norm, weight);
            });
            net.batch.logit_rows = vec![0, 3, 4, 7];
            net.forward(precision);
            let out = net.tape.out();
            for (i, &row) in net.batch.logit_rows.iter().enumerate() {
                let target = net.batch.targets[0][row];
                if target == IGNORE {
                    continue;
                }
                let logits = &out.logits[i * VOCAB..][..VOCAB];
                let softmax = log_softmax_row(logits, 1.0);
                assert_eq!(softmax.logprob(logits[target as usize]), out.logprobs[row]);
                assert_eq!(softmax.entropy, out.entropies[row]);
            }
        }
    }
}
