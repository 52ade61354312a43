//! Causal attention over packed sequences: grouped queries, unequal key and value widths, a KV cache for generation.
//!
//! o_i = Σ_{j ≤ i} softmax_j(scale · q_i·k_j) v_j within each segment of the batch. No T×T matrix is stored: a few
//! queries at a time are multiplied with all their keys, and backward recomputes the probabilities from the saved
//! log-sum-exp.
//!
//! Contract: a score is a chain of fused multiply-adds over the head's columns; the sum of exponentials runs over keys
//! in 16 lanes fixed by the key's position; o is a chain over keys from position 0. So a query's output has the same
//! bits in a training pass, in any chunk of a prompt, and decoded from the cache. All arithmetic is f32.

use crate::tape::{Activation, Describe, Io};

/// The location of the heads of q, k or v in an activation.
#[derive(Clone, Copy, Debug)]
pub struct HeadView {
    /// The activation.
    pub act: Activation,
    /// First column of head 0.
    pub offset: usize,
    /// Distance between heads.
    pub head_stride: usize,
}

/// The attention op.
pub struct Attention {
    /// Queries, `heads` × `qk_dim`.
    pub q: HeadView,
    /// Keys, `kv_heads` × `qk_dim`.
    pub k: HeadView,
    /// Values, `kv_heads` × `v_dim`.
    pub v: HeadView,
    /// Output `[t, heads · v_dim]`.
    pub out: Activation,
    /// log Σ exp of every query's scores `[t, heads]`.
    pub lse: Activation,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; a divisor of `heads`.
    pub kv_heads: usize,
    /// Width of a query or key head.
    pub qk_dim: usize,
    /// Width of a value head.
    pub v_dim: usize,
    /// The factor of the scores.
    pub scale: f32,
    /// The layer's index in the KV cache.
    pub layer: usize,
}

impl Describe for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }
    fn io(&self) -> Io {
        let mut inputs = vec![self.q.act];
        for act in [self.k.act, self.v.act] {
            if !inputs.contains(&act) {
                inputs.push(act);
            }
        }
        let saved = inputs.iter().copied().chain([self.out, self.lse]).collect();
        Io {
            reads: inputs.clone(),
            writes: vec![self.out, self.lse],
            saved,
            grad_reads: vec![self.out],
            grad_writes: inputs,
            ..Io::default()
        }
    }
    fn flops(&self, rows: usize) -> u64 {
        // Exact only for one sequence that covers all rows; profiles use it as an upper bound.
        (rows * rows * self.heads * (self.qk_dim + self.v_dim)) as u64
    }
}

#[cfg(test)]
mod tests;
