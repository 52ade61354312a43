//! The loss head, in chunks of rows.
//!
//! Logits exist for one chunk of rows at a time. In training, each chunk is converted to its gradient immediately, so
//! the probabilities of all rows are never in memory together. For this reason, training computes everything in the
//! backward pass.

use super::Kernels;
use super::log_softmax::{exp_row, gradient, log_softmax_row};
use super::rms_norm::{self, Rows};
use super::rows::for_rows;
use crate::cpu::context::Ctx;
use crate::cpu::gemm::{Mat, MatMut, Packed, Rhs, gemm};
use crate::cpu::head_memory::HeadMemory;
use crate::cpu::row_kernels;
use crate::cpu::weights::CpuWeights;
use crate::log_softmax::LogSoftmax;
use crate::ops::Columns;
use crate::ops::head::Head;
use crate::pool;
use crate::tape::{Batch, Objective, Score, TokenLoss, token_losses};

/// f32 values of logits in one chunk, sized to stay in the L2 or L3 cache.
const CHUNK: usize = 1 << 21;

/// Rows of logits computed at a time.
fn chunk_rows(vocab: usize) -> usize {
    (CHUNK / vocab).clamp(16, 512).next_multiple_of(16)
}

impl Head {
    /// Gathers `rows` of x, normalized, into `n`.
    fn gather(&self, params: &CpuWeights, x: &[f32], rows: &[u32], n: &mut [f32]) {
        let gain = self.norm.map(|norm| (params.get(norm.weight), norm.eps));
        for_rows(n, self.hidden, |i, n| {
            let x = &x[rows[i] as usize * self.hidden..][..self.hidden];
            match gain {
                Some((gain, eps)) => row_kernels::rms_norm(gain, eps, x, n),
                None => n.copy_from_slice(x),
            }
        });
    }

    /// Computes loss, log-probabilities and entropies, and the gradients if `train`.
    fn run(&self, ctx: &mut Ctx, train: bool) {
        let (hidden, vocab) = (self.hidden, self.vocab);
        let mut wanted = std::mem::take(ctx.ints.get(self.wanted));
        wanted.fill(self.wanted_rows(ctx.batch, train));
        if self.head == 0 {
            for rows in [&mut ctx.out.logprobs, &mut ctx.out.entropies] {
                rows.clear();
                rows.resize(ctx.rows, 0.0);
            }
        }
        if train && !ctx.adds(self.x) {
            let [dx] = ctx.grads.get([self.x]);
            dx.fill(0.0);
        }
        let step = chunk_rows(vocab).min(ctx.rows.max(1));
        let HeadMemory { packed, rows: memory, losses } = ctx.head;
        let reused = train && wanted.get().len() > step;
        if reused {
            Packed::pack(packed, ctx.precision, ctx.params.matrix(self.weight));
        }
        let (n, rest) = ctx.scratch.split_at_mut(step * hidden);
        let (dn, rest) = rest.split_at_mut(step * hidden);
        let (logits, rstds) = rest.split_at_mut(step * vocab);
        for rows in wanted.get().chunks(step) {
            let m = rows.len();
            let [x] = ctx.acts.get([self.x]);
            let (n, logits) = (&mut n[..m * hidden], &mut logits[..m * vocab]);
            self.gather(ctx.params, x, rows, n);
            let out = MatMut::new(logits, m, vocab);
            ctx.params.multiply(ctx.precision, Mat::new(n, m, hidden), self.weight, false, out);
            self.score(ctx.batch, ctx.objective, rows, logits, memory);
            let scores = memory.iter().map(|(softmax, logprob)| Score { logprob: *logprob, entropy: softmax.entropy });
            token_losses(ctx.objective, ctx.batch, self.head, rows, scores, losses);
            for ((&row, loss), (softmax, logprob)) in rows.iter().zip(&*losses).zip(&*memory) {
                *ctx.out.losses.head_mut(self.head) += loss.loss as f64;
                if self.head == 0 {
                    ctx.out.logprobs[row as usize] = *logprob;
                    ctx.out.entropies[row as usize] = softmax.entropy;
                }
            }
            if !train {
                continue;
            }
            self.differentiate(ctx.batch, ctx.objective, rows, logits, (memory, losses));
            let dlogits = Mat::new(logits, m, vocab);
            let [dweight] = ctx.param_grads.get([self.weight]);
            let n = Rhs::Mat(Mat::new(n, m, hidden));
            gemm(ctx.precision, 1.0, dlogits.t(), n, true, MatMut::new(dweight, vocab, hidden));
            let dn = &mut dn[..m * hidden];
            let weight = match packed.as_ref().filter(|_| reused) {
                Some(packed) => Rhs::Packed(packed),
                None => Rhs::Mat(ctx.params.matrix(self.weight)),
            };
            gemm(ctx.precision, 1.0, dlogits, weight, false, MatMut::new(dn, m, hidden));
            let [dx] = ctx.grads.get([self.x]);
            self.scatter(ctx.params, x, rows, dn, dx);
            if let Some(norm) = self.norm {
                let [dgain] = ctx.param_grads.get([norm.weight]);
                let whole = |data| Rows { data, view: Columns { act: self.x, ld: hidden, at: 0, cols: hidden } };
                let (x, dn) = (whole(x), whole(dn));
                rms_norm::add_gain(norm.eps, rows.len(), |i| (x.row(rows[i] as usize), dn.row(i)), dgain, rstds);
            }
        }
        *ctx.ints.get(self.wanted) = wanted;
    }

    /// First phase: computes the normalizer of every row of a chunk and the log-probability of its target. Leaves
    /// logits, or their exponentials if the gradient needs nothing else.
    fn score(
        &self,
        batch: &Batch,
        objective: &dyn Objective,
        rows: &[u32],
        logits: &mut [f32],
        memory: &mut Vec<(LogSoftmax, f32)>,
    ) {
        let inv_temperature = 1.0 / objective.temperature();
        let uses_entropy = objective.uses_entropy();
        memory.clear();
        memory.resize(rows.len(), Default::default());
        pool::for_rows_with(logits, self.vocab, memory, |i, logits, out| {
            let logit = logits[batch.targets[self.head][rows[i] as usize] as usize];
            let softmax = match uses_entropy {
                true => log_softmax_row(logits, inv_temperature),
                false => exp_row(logits, inv_temperature),
            };
            *out = (softmax, softmax.logprob(logit));
        });
    }

    /// Last phase: converts every row left by [`Head::score`] to the gradient of its logits.
    fn differentiate(
        &self,
        batch: &Batch,
        objective: &dyn Objective,
        rows: &[u32],
        logits: &mut [f32],
        (memory, losses): (&mut [(LogSoftmax, f32)], &[TokenLoss]),
    ) {
        let inv_temperature = 1.0 / objective.temperature();
        let uses_entropy = objective.uses_entropy();
        pool::for_rows_with(logits, self.vocab, memory, |i, logits, (softmax, _)| {
            let target = batch.targets[self.head][rows[i] as usize] as usize;
            let token = losses[i];
            if uses_entropy {
                gradient(softmax, target, token.dlogprob, token.dentropy, logits);
            } else {
                // d log p(target) / d logit = (onehot − p) / temperature
                let c = token.dlogprob * inv_temperature;
                row_kernels::scale(-c / softmax.sum, logits);
                logits[target] += c;
            }
        });
    }

    /// Adds the gradient of a chunk to the rows of dx.
    fn scatter(&self, params: &CpuWeights, x: &[f32], rows: &[u32], dn: &[f32], dx: &mut [f32]) {
        let gain = self.norm.map(|norm| (params.get(norm.weight), norm.eps));
        let hidden = self.hidden;
        let (first, last) = (rows[0] as usize, rows[rows.len() - 1] as usize);
        for_rows(&mut dx[first * hidden..(last + 1) * hidden], hidden, |r, dx| {
            let Ok(i) = rows.binary_search(&((first + r) as u32)) else { return };
            let (x, dn) = (&x[(first + r) * hidden..][..hidden], &dn[i * hidden..][..hidden]);
            match gain {
                Some((gain, eps)) => {
                    row_kernels::rms_norm_backward(gain, eps, x, dn, dx, true);
                }
                None => row_kernels::axpy(1.0, dn, dx),
            }
        });
    }
}

impl Kernels for Head {
    fn scratch(&self, rows: usize) -> usize {
        chunk_rows(self.vocab).min(rows.max(1)) * (2 * self.hidden + self.vocab + 1)
    }
    fn forward(&self, ctx: &mut Ctx) {
        if !ctx.train {
            self.run(ctx, false);
        }
    }
    fn backward(&self, ctx: &mut Ctx) {
        self.run(ctx, true);
    }
}
