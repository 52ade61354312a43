//! How many parameters a network has (spec §1.1).

use super::{Arch, Config};

/// Numbers of parameters. `e_score_correction_bias`, which is not trained, is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Everything but the MTP module.
    pub total: u64,
    /// What one token passes through, embedding and head counted fully.
    pub active: u64,
    /// Attention of one layer, its own norms included.
    pub attention: u64,
    /// The dense MLP of one layer.
    pub mlp: u64,
    /// Router, routed and shared experts of one layer; 0 without experts.
    pub moe: u64,
    /// The MTP module without its copies of embedding and head.
    pub mtp: u64,
    /// The embedding, as large as the head.
    pub embedding: u64,
}

impl Counts {
    /// Everything that is kept in memory.
    pub fn stored(&self) -> u64 {
        self.total + self.mtp
    }
}

impl Config {
    /// Counts the parameters. Sizes are bounded, so nothing overflows.
    pub fn counts(&self) -> Counts {
        let [h, v, i, layers, heads] = [
            self.hidden_size,
            self.vocab_size,
            self.intermediate_size,
            self.num_hidden_layers,
            self.num_attention_heads,
        ]
        .map(|n| n as u64);
        let (embedding, mlp) = (v * h, 3 * h * i);
        let embeddings = if self.tie_word_embeddings { embedding } else { 2 * embedding };
        match &self.arch {
            Arch::Dense(d) => {
                let (q, kv) = (heads * d.head_dim as u64, (d.num_key_value_heads * d.head_dim) as u64);
                let bias = if d.qkv_bias { q + 2 * kv } else { 0 } + if d.o_bias { h } else { 0 };
                let attention = h * (2 * q + 2 * kv) + bias;
                let total = embeddings + h + layers * (attention + mlp + 2 * h);
                Counts { total, active: total, attention, mlp, moe: 0, mtp: 0, embedding }
            }
            Arch::Deepseek(d) => {
                let [c, n, r, w] = [d.kv_lora_rank, d.qk_nope_head_dim, d.qk_rope_head_dim, d.v_head_dim];
                let [c, n, r, w] = [c, n, r, w].map(|n| n as u64);
                let query = match d.q_lora_rank {
                    Some(q) => q as u64 * (h + 1 + heads * (n + r)),
                    None => h * heads * (n + r),
                };
                let attention = query + h * (c + r) + c + c * heads * (n + w) + heads * w * h;
                let [e, k, s] = [d.gate.n_routed_experts, d.gate.num_experts_per_tok, d.n_shared_experts];
                let [e, k, s] = [e, k, s].map(|n| n as u64);
                let expert = 3 * h * d.moe_intermediate_size as u64;
                let moe = (e + s) * expert + e * h;
                let (dense, sparse) = (d.first_k_dense_replace as u64, layers - d.first_k_dense_replace as u64);
                let total = embeddings + h + layers * (attention + 2 * h) + dense * mlp + sparse * moe;
                // enorm, hnorm, eh_proj, a whole layer, shared_head.norm (spec §1.6)
                let mtp = self.num_nextn_predict_layers as u64 * (3 * h + 2 * h * h + attention + 2 * h + moe);
                let active = total - sparse * (e - k) * expert;
                Counts { total, active, attention, mlp, moe, mtp, embedding }
            }
        }
    }

    /// About how many tensors a checkpoint has (never fewer).
    pub(super) fn tensor_count(&self) -> u64 {
        let of_a_layer = match self.deepseek() {
            Some(d) => 16 + 3 * d.gate.n_routed_experts as u64,
            None => 16,
        };
        3 + (self.num_hidden_layers as u64 + 1) * of_a_layer
    }
}
