//! What a pass computes, fetched from the device when the pass is over.

use std::ops::AddAssign;

/// Sums of losses over a pass.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Losses {
    /// Of the next token (loss head 0).
    pub next_token: f64,
    /// Of the multi-token prediction module (loss head 1).
    pub mtp: f64,
    /// Of the routers' balance losses.
    pub balance: f64,
}

impl Losses {
    /// All of them together: what the pass minimizes.
    pub fn total(&self) -> f64 {
        self.next_token + self.mtp + self.balance
    }
    /// The loss of a head.
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

/// What a pass computed.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    /// The losses.
    pub losses: Losses,
    /// For head 0: log-probability of every row's target (0 where there is none).
    pub logprobs: Vec<f32>,
    /// For head 0: entropy of every row's distribution, in nats (0 where there is no target).
    pub entropies: Vec<f32>,
    /// Logits of [`super::Batch::logit_rows`], `[rows, vocab]`.
    pub logits: Vec<f32>,
    /// Normed output of the last block for every row, `[t, hidden]`, if the program stores it (inference).
    pub hidden: Vec<f32>,
    /// For every MoE layer: how many tokens each routed expert got.
    pub expert_load: Vec<Vec<u32>>,
}
