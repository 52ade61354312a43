//! The loss head: final norm, LM head, log-probability and entropy of every target, loss and its gradient.
//!
//! Rows whose target is not needed are skipped before the product with the LM head.

use super::rms_norm::Norm;
use crate::tape::{Activation, Batch, Builder, Describe, IGNORE, IntTensor, Io, Param, ParamLayout};

/// The op of a loss head.
pub struct Head {
    /// Input `[t, hidden]`.
    pub x: Activation,
    /// The final norm, unless it is applied before.
    pub norm: Option<Norm>,
    /// `[vocab, hidden]`: lm_head, or the embedding if they are tied.
    pub weight: Param,
    /// The targets of the batch: 0 for the next token, 1 for the MTP module's.
    pub head: usize,
    /// Width of the input.
    pub hidden: usize,
    /// Number of tokens.
    pub vocab: usize,
    /// The rows whose targets are needed.
    pub wanted: IntTensor,
}

impl Head {
    /// Appends the loss of targets `head` on `x`.
    pub fn push(
        b: &mut Builder<impl Describe + From<Head>>,
        params: &ParamLayout,
        x: Activation,
        norm: Option<Norm>,
        weight: Param,
        head: usize,
    ) {
        let [vocab, hidden] = params.info(weight).shape[..] else { panic!("invariant: a linear weight is a matrix") };
        assert!(b.cols(x) == hidden, "invariant: {} takes {hidden} inputs", params.info(weight).name);
        let wanted = b.ints(b.mode().rows);
        b.push(Head { x, norm, weight, head, hidden, vocab, wanted });
    }

    /// Returns the rows whose targets are needed: when scoring, all rows with a target; in training, those with a
    /// weight.
    pub(crate) fn wanted_rows<'a>(&self, batch: &'a Batch, train: bool) -> impl Iterator<Item = u32> + 'a {
        let targets = batch.targets[self.head].iter().enumerate();
        let rows = targets.filter(move |&(r, &t)| t != IGNORE && !(train && batch.weights[r] == 0.0));
        rows.map(|(r, _)| r as u32)
    }
}

impl Describe for Head {
    fn name(&self) -> &'static str {
        if self.head == 0 { "head" } else { "mtp_head" }
    }
    fn io(&self) -> Io {
        let ints = vec![self.wanted];
        Io { reads: vec![self.x], saved: vec![self.x], grad_writes: vec![self.x], ints, ..Io::default() }
    }
    fn flops(&self, rows: usize) -> u64 {
        2 * (rows * self.hidden * self.vocab) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::precision::Precision;
    use crate::testing::{Net, TestInput, VOCAB, build_loss};

    fn nets(norm: bool, head: usize) -> Vec<Net> {
        build_loss(true, 11, |b, p| {
            let x = TestInput::input(b, p, 14);
            let norm = norm.then(|| Norm { weight: p.declare("model.norm.weight", &[14]), eps: 1e-6 });
            let weight = p.declare("lm_head.weight", &[VOCAB, 14]);
            p.mark_linear(weight);
            Head::push(b, p, x, norm, weight, head);
        })
    }

    #[test]
    fn gradients() {
        for (norm, head) in [(true, 0), (false, 0), (true, 1)] {
            for mut net in nets(norm, head) {
                net.check_gradients(1e-3);
                net.temperature = 0.7;
                net.check_gradients(1e-3);
                net.entropy = -1.5;
                net.check_gradients(1e-3);
            }
        }
    }

    #[test]
    fn the_entropy_has_no_part_in_a_loss_without_it() {
        // A weight of zero and a negligible weight exercise both code paths of the gradient.
        for mut net in nets(true, 0) {
            let plain = net.step(Precision::F32);
            net.entropy = 1e-30;
            let (loss, grads) = net.step(Precision::F32);
            assert_eq!(plain.0, loss);
            let largest = plain.1.iter().fold(0f32, |m, g| m.max(g.abs()));
            assert!(plain.1.iter().zip(&grads).all(|(a, b)| (a - b).abs() <= 1e-6 * largest));
        }
    }

    #[test]
    fn rows_of_no_weight_are_scored_but_not_trained() {
        for mut net in nets(true, 0) {
            let row = 1;
            assert_ne!(net.batch.targets[0][row], IGNORE);
            net.forward(Precision::F32);
            let scored = net.executor.outputs().logprobs.clone();
            assert!(scored[row] < 0.0 && net.executor.outputs().entropies[row] > 0.0);
            net.batch.weights[row] = 0.0;
            net.forward(Precision::F32);
            assert_eq!(scored, net.executor.outputs().logprobs);
            net.step(Precision::F32);
            assert_eq!(net.executor.outputs().logprobs[row], 0.0);
            for (r, &logprob) in net.executor.outputs().logprobs.iter().enumerate() {
                assert!(r == row || logprob == scored[r], "same bits in training and scoring");
            }
        }
    }

    #[test]
    fn a_batch_without_targets_has_neither_loss_nor_gradient() {
        for mut net in nets(true, 0) {
            net.batch.targets[0].fill(IGNORE);
            assert_eq!(net.forward(Precision::F32), 0.0);
            assert!(net.executor.outputs().logprobs.iter().all(|&logprob| logprob == 0.0));
            let (loss, grads) = net.step(Precision::F32);
            assert!(loss == 0.0 && grads.iter().all(|&g| g == 0.0), "{}", net.device());
        }
    }
}
