//! Logits of the rows that generation requests: final norm and LM head. Each row has the same bits as in
//! [`super::head`].

use super::rms_norm::Norm;
use crate::tape::{Activation, Builder, Describe, Io, Param, ParamLayout};

/// The op: writes the logits of `Batch::logit_rows` of x to `Outputs::logits`, and tokens chosen from the logits of
/// `Batch::sampled_rows` to `Outputs::sampled`. Inference only.
pub struct Logits {
    /// Input `[t, hidden]`.
    pub x: Activation,
    /// The final norm, unless it is applied before.
    pub norm: Option<Norm>,
    /// `[vocab, hidden]`: lm_head, or the embedding if they are tied.
    pub weight: Param,
    /// Width of the input.
    pub hidden: usize,
    /// Number of tokens.
    pub vocab: usize,
}

impl Logits {
    /// Appends the logits of `x`.
    pub fn push(
        b: &mut Builder<impl Describe + From<Logits>>,
        params: &ParamLayout,
        x: Activation,
        norm: Option<Norm>,
        weight: Param,
    ) {
        let [vocab, hidden] = params.info(weight).shape[..] else { panic!("invariant: a linear weight is a matrix") };
        b.push(Logits { x, norm, weight, hidden, vocab });
    }
}

impl Describe for Logits {
    fn name(&self) -> &'static str {
        "logits"
    }
    fn io(&self) -> Io {
        Io { reads: vec![self.x], ..Io::default() }
    }
    fn flops(&self, rows: usize) -> u64 {
        2 * (rows * self.hidden * self.vocab) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::head::Head;
    use crate::precision::Precision;
    use crate::tape::IGNORE;
    use crate::testing::{Net, TestInput, VOCAB, build_loss};

    /// Networks with both heads over the same rows.
    fn nets(rows: usize, vocab: usize) -> Vec<Net> {
        build_loss(false, rows, |b, p| {
            let x = TestInput::input(b, p, 14);
            let norm = Some(Norm { weight: p.declare("model.norm.weight", &[14]), eps: 1e-6 });
            let weight = p.declare("lm_head.weight", &[vocab, 14]);
            p.mark_linear(weight);
            Head::push(b, p, x, norm, weight, 0);
            Logits::push(b, p, x, norm, weight);
        })
    }

    #[test]
    fn same_bits_as_the_loss_head() {
        // Sizes around those of vectors and of a card's blocks of threads.
        for (rows, vocab, temperature) in [(11, VOCAB, 1.0), (2, 513, 0.7), (40, 37, 1.3), (5, 1000, 1.0)] {
            for precision in [Precision::F32, Precision::Bf16] {
                for mut net in nets(rows, vocab) {
                    net.temperature = temperature;
                    net.batch.logit_rows = (0..rows).filter(|row| row % 4 != 1).collect();
                    net.forward(precision);
                    let out = net.executor.outputs();
                    for (&row, logits) in net.batch.logit_rows.iter().zip(out.logits.chunks_exact(vocab)) {
                        let target = net.batch.targets[0][row];
                        if target == IGNORE {
                            continue;
                        }
                        let softmax = net.backend.normalizer(logits, 1.0 / temperature);
                        assert_eq!(softmax, net.backend.log_softmax(&mut logits.to_vec(), 1.0 / temperature));
                        assert_eq!(softmax.logprob(logits[target as usize]), out.logprobs[row], "{}", net.device());
                        assert_eq!(softmax.entropy, out.entropies[row], "{}", net.device());
                    }
                }
            }
        }
    }
}
