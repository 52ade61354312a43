//! The loss head: final norm, LM head, log-probability and entropy of every target, loss and its gradient.
//!
//! Rows without a wanted target are left out before the GEMM. Logits exist for a chunk of rows at a time; in
//! training each chunk is turned into its gradient at once, so the probabilities of all rows never lie in memory.
//! That is why, in training, everything happens in backward.

use super::View;
use super::log_softmax::{exp_row, log_softmax_row};
use super::rms_norm::{self, Norm, Rows};
use super::rows::for_rows;
use crate::batch::{Batch, IGNORE};
use crate::gemm::{Mat, MatMut, Packed, Rhs, gemm};
use crate::lanes;
use crate::params::{Param, Params};
use crate::pool;
use crate::tape::{Act, Builder, Ctx, Ints, Io, Objective, Op};
use std::sync::Mutex;

/// f32 of logits in one chunk: it should stay in the outer cache.
const CHUNK: usize = 1 << 21;

/// Rows of logits computed at a time.
pub(crate) fn chunk_rows(vocab: usize) -> usize {
    (CHUNK / vocab).clamp(16, 512).next_multiple_of(16)
}

/// The op.
pub struct Head {
    /// Input `[t, hidden]`.
    pub x: Act,
    /// The final norm, if not applied before.
    pub norm: Option<Norm>,
    /// `[vocab, hidden]`: lm_head, or the embedding where they are tied.
    pub weight: Param,
    /// Which targets of the batch: 0 the next token, 1 the MTP module's.
    pub head: usize,
    /// Width of the input.
    pub hidden: usize,
    /// Number of tokens.
    pub vocab: usize,
    wanted: Ints,
    /// The weight as the right-hand side of dx = dlogits · W, packed once for all chunks of a pass.
    packed: Mutex<Option<Packed>>,
}

impl Head {
    /// Appends the loss of targets `head` on `x`.
    pub fn push(b: &mut Builder, params: &Params, x: Act, norm: Option<Norm>, weight: Param, head: usize) {
        let [vocab, hidden] = params.info(weight).shape[..] else { panic!("invariant: a linear weight is a matrix") };
        assert!(b.cols(x) == hidden, "invariant: {} takes {hidden} inputs", params.info(weight).name);
        let wanted = b.ints();
        b.push(Head { x, norm, weight, head, hidden, vocab, wanted, packed: Mutex::default() });
    }

    /// The rows whose targets are wanted: all that have one when scoring; in training those of some weight.
    fn find_wanted(&self, batch: &Batch, train: bool, wanted: &mut Vec<u32>) {
        wanted.clear();
        let targets = batch.targets[self.head].iter().enumerate();
        let rows = targets.filter(|&(r, &t)| t != IGNORE && !(train && batch.weights[r] == 0.0));
        wanted.extend(rows.map(|(r, _)| r as u32));
    }

    /// Gathers `rows` of x, normed, into `n`.
    fn gather(&self, params: &Params, x: &[f32], rows: &[u32], n: &mut [f32]) {
        let gain = self.norm.map(|norm| (params.get(norm.weight), norm.eps));
        for_rows(n, self.hidden, |i, n| {
            let x = &x[rows[i] as usize * self.hidden..][..self.hidden];
            match gain {
                Some((gain, eps)) => lanes::rms_norm(gain, eps, x, n),
                None => n.copy_from_slice(x),
            }
        });
    }

    /// Loss, log-probabilities and entropies; gradients too if `train`.
    fn run(&self, ctx: &mut Ctx, train: bool) {
        let (hidden, vocab) = (self.hidden, self.vocab);
        let mut wanted = std::mem::take(ctx.ints(self.wanted));
        self.find_wanted(ctx.batch, train, &mut wanted);
        if self.head == 0 {
            ctx.out.logprobs.clear();
            ctx.out.logprobs.resize(ctx.rows, 0.0);
            ctx.out.entropies.clear();
            ctx.out.entropies.resize(ctx.rows, 0.0);
        }
        if train && !ctx.adds(self.x) {
            let [dx] = ctx.grads.get([self.x]);
            dx.fill(0.0);
        }
        let step = chunk_rows(vocab).min(ctx.rows.max(1));
        let mut packed = self.packed.lock().expect("invariant: no pass panicked");
        if train && wanted.len() > step {
            Packed::pack(&mut packed, ctx.precision, ctx.params.matrix(self.weight));
        } else {
            *packed = None;
        }
        let (n, rest) = ctx.scratch.split_at_mut(step * hidden);
        let (dn, rest) = rest.split_at_mut(step * hidden);
        let (logits, scores) = rest.split_at_mut(step * vocab);
        for rows in wanted.chunks(step) {
            let m = rows.len();
            let [x] = ctx.acts.get([self.x]);
            let (n, logits) = (&mut n[..m * hidden], &mut logits[..m * vocab]);
            self.gather(ctx.params, x, rows, n);
            let out = MatMut::new(logits, m, vocab);
            ctx.params.multiply(ctx.precision, Mat::new(n, m, hidden), self.weight, false, out);
            let scores = &mut scores[..m * 3];
            self.score((ctx.batch, ctx.objective), rows, logits, scores, train);
            for (&row, score) in rows.iter().zip(scores.chunks_exact(3)) {
                ctx.out.loss[self.head] += score[0] as f64;
                if self.head == 0 {
                    ctx.out.logprobs[row as usize] = score[1];
                    ctx.out.entropies[row as usize] = score[2];
                }
            }
            if !train {
                continue;
            }
            let dlogits = Mat::new(logits, m, vocab);
            let [dweight] = ctx.param_grads.get([self.weight]);
            let n = Rhs::Mat(Mat::new(n, m, hidden));
            gemm(ctx.precision, 1.0, dlogits.t(), n, true, MatMut::new(dweight, vocab, hidden));
            let dn = &mut dn[..m * hidden];
            let weight = packed.as_ref().map_or_else(|| Rhs::Mat(ctx.params.matrix(self.weight)), Rhs::Packed);
            gemm(ctx.precision, 1.0, dlogits, weight, false, MatMut::new(dn, m, hidden));
            let [dx] = ctx.grads.get([self.x]);
            self.scatter(ctx.params, x, rows, dn, dx);
            if let Some(norm) = self.norm {
                let [dgain] = ctx.param_grads.get([norm.weight]);
                let whole = |data| Rows { data, view: View { act: self.x, ld: hidden, at: 0, cols: hidden } };
                let (x, dn) = (whole(x), whole(dn));
                rms_norm::add_gain(norm.eps, rows.len(), |i| (x.row(rows[i] as usize), dn.row(i)), dgain, scores);
            }
        }
        *ctx.ints(self.wanted) = wanted;
    }

    /// For every row of a chunk: its loss, log-probability and entropy into `scores`; its gradient over its logits.
    fn score(
        &self,
        (batch, objective): (&Batch, &dyn Objective),
        rows: &[u32],
        logits: &mut [f32],
        scores: &mut [f32],
        train: bool,
    ) {
        let (vocab, head) = (self.vocab, self.head);
        let inv_temperature = 1.0 / objective.temperature();
        let uses_entropy = objective.uses_entropy();
        pool::for_chunks2(logits, vocab, scores, 3, |i, logits, score| {
            let row = rows[i] as usize;
            let target = batch.targets[head][row] as usize;
            let logit = logits[target];
            // The gradient of the entropy needs the logits, that of the log-probability their exponentials alone.
            let softmax = match uses_entropy {
                true => log_softmax_row(logits, inv_temperature),
                false => exp_row(logits, inv_temperature),
            };
            let logprob = softmax.logprob(logit);
            let token = objective.token(batch, head, row, logprob, softmax.entropy);
            score.copy_from_slice(&[token.loss, logprob, softmax.entropy]);
            if train && uses_entropy {
                softmax.gradient(target, token.dlogprob, token.dentropy, logits);
            } else if train {
                // d log p(target) / d logit = (onehot − p) / temperature
                let c = token.dlogprob * inv_temperature;
                let scale = -c / softmax.sum;
                lanes::scale(scale, logits);
                logits[target] += c;
            }
        });
    }

    /// Adds the gradient of a chunk to the rows of dx.
    fn scatter(&self, params: &Params, x: &[f32], rows: &[u32], dn: &[f32], dx: &mut [f32]) {
        let gain = self.norm.map(|norm| (params.get(norm.weight), norm.eps));
        let hidden = self.hidden;
        let (first, last) = (rows[0] as usize, rows[rows.len() - 1] as usize);
        for_rows(&mut dx[first * hidden..(last + 1) * hidden], hidden, |r, dx| {
            let Ok(i) = rows.binary_search(&((first + r) as u32)) else { return };
            let (x, dn) = (&x[(first + r) * hidden..][..hidden], &dn[i * hidden..][..hidden]);
            match gain {
                Some((gain, eps)) => {
                    lanes::rms_norm_backward(gain, eps, x, dn, dx, true);
                }
                None => lanes::axpy(1.0, dn, dx),
            }
        });
    }
}

impl Op for Head {
    fn name(&self) -> &'static str {
        if self.head == 0 { "head" } else { "mtp_head" }
    }
    fn io(&self) -> Io {
        Io { reads: vec![self.x], saved: vec![self.x], grad_writes: vec![self.x], ..Io::default() }
    }
    fn scratch(&self, rows: usize) -> usize {
        chunk_rows(self.vocab).min(rows.max(1)) * (2 * self.hidden + self.vocab + 3)
    }
    fn flops(&self, rows: usize) -> u64 {
        2 * (rows * self.hidden * self.vocab) as u64
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Net, Probe, VOCAB, build_loss};
    use crate::gemm::Precision;

    fn net(norm: bool, head: usize) -> Net {
        build_loss(true, 11, |b, p| {
            let x = Probe::input(b, p, 14);
            let norm = norm.then(|| Norm { weight: p.declare("model.norm.weight", &[14]), eps: 1e-6 });
            let weight = p.declare("lm_head.weight", &[VOCAB, 14]);
            p.mark_linear(weight);
            Head::push(b, p, x, norm, weight, head);
        })
    }

    #[test]
    fn gradients() {
        for (norm, head) in [(true, 0), (false, 0), (true, 1)] {
            let mut net = net(norm, head);
            net.check_gradients(1e-3);
            net.temperature = 0.7;
            net.check_gradients(1e-3);
            net.entropy = -1.5;
            net.check_gradients(1e-3);
        }
    }

    #[test]
    fn the_entropy_has_no_part_in_a_loss_without_it() {
        // A weight of zero, and one so small that it vanishes, take the two ways to the gradient.
        let mut net = net(true, 0);
        let plain = net.step(Precision::F32);
        net.entropy = 1e-30;
        let (loss, grads) = net.step(Precision::F32);
        assert_eq!(plain.0, loss);
        let largest = plain.1.iter().fold(0f32, |m, g| m.max(g.abs()));
        assert!(plain.1.iter().zip(&grads).all(|(a, b)| (a - b).abs() <= 1e-6 * largest));
    }

    #[test]
    fn rows_of_no_weight_are_scored_but_not_trained() {
        let mut net = net(true, 0);
        let row = 1;
        assert_ne!(net.batch.targets[0][row], IGNORE);
        net.forward(Precision::F32);
        let scored = net.tape.out().logprobs.clone();
        assert!(scored[row] < 0.0 && net.tape.out().entropies[row] > 0.0);
        net.batch.weights[row] = 0.0;
        net.forward(Precision::F32);
        assert_eq!(scored, net.tape.out().logprobs);
        net.step(Precision::F32);
        assert_eq!(net.tape.out().logprobs[row], 0.0);
        for (r, &logprob) in net.tape.out().logprobs.iter().enumerate() {
            assert!(r == row || logprob == scored[r], "same bits in training and scoring");
        }
    }
}
