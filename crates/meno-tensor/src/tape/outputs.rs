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

/// What the MoE layers of a pass exchanged with the ranks that hold their experts, summed over layers
/// ([`Executor::deal_experts`](crate::backend::Executor::deal_experts)). All zero if every expert is here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpertTraffic {
    /// Tokens dispatched, counted once per MoE layer (twice if the layer is recomputed).
    pub tokens: u64,
    /// The ranks that each of these tokens was dispatched to, added up; this rank counts too. Node-limited routing
    /// (DeepSeek-V3 §2.1.2) bounds ranks / tokens by `topk_group` if every rank holds one group of experts.
    pub ranks: u64,
    /// Bytes sent to other ranks by dispatch: each token once per rank, and which of its experts it visits.
    pub dispatch_bytes: u64,
    /// Bytes sent to other ranks for combine: the result of every expert separately.
    pub combine_bytes: u64,
    /// Bytes sent to other ranks in the backward pass, gradients of results and of tokens.
    pub backward_bytes: u64,
}

impl AddAssign for ExpertTraffic {
    fn add_assign(&mut self, other: ExpertTraffic) {
        self.tokens += other.tokens;
        self.ranks += other.ranks;
        self.dispatch_bytes += other.dispatch_bytes;
        self.combine_bytes += other.combine_bytes;
        self.backward_bytes += other.backward_bytes;
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
    /// For every MoE layer: the number of tokens of each routed expert, among the tokens of this batch.
    pub expert_load: Vec<Vec<u32>>,
    /// What was exchanged with experts on other ranks.
    pub expert_traffic: ExpertTraffic,
}
