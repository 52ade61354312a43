//! Head, the loss of log softmax(RMSNorm(x) · Wᵀ / T) at the targets: the equations of [`crate::ops::head`].
//!
//! Training computes everything in the backward pass and skips rows without a weight.

use super::Kernels;
use super::rms_norm::{norm_rows, norm_rows_backward};
use crate::log_softmax::LogSoftmax;
use crate::ops::head::Head;
use crate::ops::rms_norm::Norm;
use crate::reference::context::Ctx;
use crate::reference::log_softmax::{gradient, log_softmax_row};
use crate::reference::math::{Mat, product, stored};
use crate::tape::{Param, Score, TokenLoss, token_losses};

/// Returns `rows` of x, which is as wide as the weight.
fn gather(x: &[f32], cols: usize, rows: &[u32]) -> Vec<f32> {
    rows.iter().flat_map(|&row| &x[row as usize * cols..][..cols]).copied().collect()
}

/// Returns the normalized `rows` of x, and their logits.
pub(super) fn logits(ctx: &Ctx, x: &[f32], norm: Option<Norm>, weight: Param, rows: &[u32]) -> (Vec<f32>, Vec<f32>) {
    let values = ctx.weights.get(weight);
    let hidden = x.len() / ctx.rows.max(1);
    let mut n = gather(x, hidden, rows);
    if let Some(norm) = norm {
        n = norm_rows(&ctx.weights.get(norm.weight), norm.eps, &n);
    }
    let precision = ctx.weights.precision(weight, ctx.precision);
    let vocab = values.len() / hidden.max(1);
    let z = product(precision, Mat::new(&n, rows.len(), hidden), Mat::new(&values, vocab, hidden).t());
    (n, stored(&z))
}

/// The wanted rows after both phases.
struct Scored {
    rows: Vec<u32>,
    /// Normalized rows of x.
    n: Vec<f32>,
    logits: Vec<f32>,
    softmaxes: Vec<LogSoftmax>,
    losses: Vec<TokenLoss>,
}

/// Scores the wanted rows, gets their losses from the host, and reports both.
fn score(op: &Head, ctx: &mut Ctx, train: bool) -> Scored {
    let rows: Vec<u32> = op.wanted_rows(ctx.batch, train).collect();
    ctx.set_ints(op.wanted, rows.clone());
    let (n, logits) = logits(ctx, &ctx.value(op.x), op.norm, op.weight, &rows);
    let inv_temperature = 1.0 / ctx.objective.temperature();
    let (mut softmaxes, mut scores, mut losses) = (Vec::new(), Vec::new(), Vec::new());
    for (&row, logits) in rows.iter().zip(logits.chunks_exact(op.vocab)) {
        let softmax = log_softmax_row(logits, inv_temperature);
        let logprob = softmax.logprob(logits[ctx.batch.targets[op.head][row as usize] as usize]);
        softmaxes.push(softmax);
        scores.push(Score { logprob, entropy: softmax.entropy });
    }
    token_losses(ctx.objective, ctx.batch, op.head, &rows, scores.iter().copied(), &mut losses);
    *ctx.out.losses.head_mut(op.head) += losses.iter().map(|loss| loss.loss as f64).sum::<f64>();
    if op.head == 0 {
        ctx.out.logprobs = vec![0.0; ctx.rows];
        ctx.out.entropies = vec![0.0; ctx.rows];
        for (&row, score) in rows.iter().zip(&scores) {
            ctx.out.logprobs[row as usize] = score.logprob;
            ctx.out.entropies[row as usize] = score.entropy;
        }
    }
    Scored { rows, n, logits, softmaxes, losses }
}

impl Kernels for Head {
    fn forward(&self, ctx: &mut Ctx) {
        if !ctx.train {
            score(self, ctx, false);
        }
    }
    fn backward(&self, ctx: &mut Ctx) {
        let Scored { rows, n, logits, softmaxes, losses } = score(self, ctx, true);
        let mut dlogits = Vec::with_capacity(logits.len());
        for (i, z) in logits.chunks_exact(self.vocab).enumerate() {
            let target = ctx.batch.targets[self.head][rows[i] as usize] as usize;
            let dentropy = if ctx.objective.uses_entropy() { losses[i].dentropy } else { 0.0 };
            dlogits.extend(gradient(&softmaxes[i], target, (losses[i].dlogprob, dentropy), z));
        }
        let weight = ctx.weights.get(self.weight);
        let d = Mat::new(&dlogits, rows.len(), self.vocab);
        let dweight = product(ctx.precision, d.t(), Mat::new(&n, rows.len(), self.hidden));
        let mut dn = product(ctx.precision, d, Mat::new(&weight, self.vocab, self.hidden));
        ctx.give_param_grad(self.weight, &dweight);
        if let Some(norm) = self.norm {
            let (gain, x) = (ctx.weights.get(norm.weight), gather(&ctx.value(self.x), self.hidden, &rows));
            let [dx, dgain] = norm_rows_backward(&gain, norm.eps, &x, &stored(&dn));
            ctx.give_param_grad(norm.weight, &dgain);
            dn = dx;
        }
        let mut dx = vec![0.0; ctx.rows * self.hidden];
        for (&row, dn) in rows.iter().zip(dn.chunks_exact(self.hidden)) {
            dx[row as usize * self.hidden..][..self.hidden].copy_from_slice(dn);
        }
        ctx.give_grad(self.x, &dx);
    }
}
