//! Objectives: the functions that loss heads minimize.
//!
//! A head works in two phases, so that an objective is written once for all devices. The device computes
//! log-probability and entropy of every wanted target; the host converts them to losses and derivatives
//! ([`token_losses`]); the device converts the derivatives to gradients.

use super::batch::Batch;

/// The loss of one predicted token and its derivatives.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TokenLoss {
    /// The token's share of the loss.
    pub loss: f32,
    /// d loss / d log-probability of the target.
    pub dlogprob: f32,
    /// d loss / d entropy of the predicted distribution. Ignored unless [`Objective::uses_entropy`].
    pub dentropy: f32,
}

/// The log-probability of a target and the entropy of the distribution that predicts it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Natural logarithm of the target's probability.
    pub logprob: f32,
    /// −Σ p log p, in nats.
    pub entropy: f32,
}

/// The function that a loss head minimizes, in terms of each target's log-probability and the entropy (in nats) of the
/// distribution that predicts it.
pub trait Objective: Sync {
    /// Returns the loss of the target of `row`, given its log-probability and entropy at [`Objective::temperature`].
    fn token(&self, batch: &Batch, head: usize, row: usize, logprob: f32, entropy: f32) -> TokenLoss;
    /// Returns the divisor of the logits before the softmax.
    fn temperature(&self) -> f32 {
        1.0
    }
    /// Returns true if a token's loss depends on the entropy. Its gradient costs a second exponential per logit.
    fn uses_entropy(&self) -> bool {
        false
    }
}

/// The host's phase of a loss head: computes the losses of `rows` from their scores, into `losses`.
pub(crate) fn token_losses(
    objective: &dyn Objective,
    batch: &Batch,
    head: usize,
    rows: &[u32],
    scores: impl Iterator<Item = Score>,
    losses: &mut Vec<TokenLoss>,
) {
    losses.clear();
    let token = |(&row, s): (&u32, Score)| objective.token(batch, head, row as usize, s.logprob, s.entropy);
    losses.extend(rows.iter().zip(scores).map(token));
}

/// Weighted cross-entropy: the loss of a row is −weight · log p(target).
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropy {
    /// The factor of each head's loss: 1 for the next token, λ for the MTP module.
    pub head_scale: [f32; 2],
}

impl Default for CrossEntropy {
    /// Both heads have factor 1.
    fn default() -> Self {
        CrossEntropy { head_scale: [1.0; 2] }
    }
}

impl Objective for CrossEntropy {
    fn token(&self, batch: &Batch, head: usize, row: usize, logprob: f32, _entropy: f32) -> TokenLoss {
        let weight = batch.weights[row] * self.head_scale[head];
        TokenLoss { loss: -weight * logprob, dlogprob: -weight, dentropy: 0.0 }
    }
}
