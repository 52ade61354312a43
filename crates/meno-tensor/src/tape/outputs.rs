//! The results of a pass, fetched from the device after the pass.

use crate::sampling::SampledToken;
use std::ops::AddAssign;

/// Sums of losses over a pass.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Losses {
    /// Loss of the next token (loss head 0).
    pub next_token: f64,
    /// Loss of the multi-token prediction module (loss head 1).
    pub mtp: f64,
    /// Balance losses of the routers.
    pub balance: f64,
}

impl Losses {
    /// Returns the sum of all losses, which the pass minimizes.
    pub fn total(&self) -> f64 {
        self.next_token + self.mtp + self.balance
    }
    /// Returns the loss of a head.
    pub(crate) fn head_mut(&mut self, head: usize) -> &mut f64 {
        if head == 0 { &mut self.next_token } else { &mut self.mtp }
    }
}

impl AddAssign for Losses {
    fn add_assign(&mut self, other: Losses) {
        self.next_token += other.next_token;
        self.mtp += other.mtp;
        self.balance += other.balance;
    }
}

/// The results of a pass.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    /// The losses.
    pub losses: Losses,
    /// For head 0: log-probability of every row's target (0 if there is none).
    pub logprobs: Vec<f32>,
    /// For head 0: entropy of every row's distribution, in nats (0 if there is no target).
    pub entropies: Vec<f32>,
    /// Logits of [`super::Batch::logit_rows`], `[rows, vocab]`.
    pub logits: Vec<f32>,
    /// The tokens of [`super::Batch::sampled_rows`]; `None` where the logits are not finite.
    pub sampled: Vec<Option<SampledToken>>,
    /// Normalized output of the last block for every row, `[t, hidden]`, if the program stores it (inference).
    pub hidden: Vec<f32>,
    /// For every MoE layer: the number of tokens of each routed expert.
    pub expert_load: Vec<Vec<u32>>,
}
