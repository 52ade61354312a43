//! Counts the parameters of a network (spec §1.1).

use super::{Arch, Config, MoeSizes};

/// Numbers of parameters. The untrained `e_score_correction_bias` is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// All parameters except the MTP module.
    pub total: u64,
    /// Parameters that one token uses, including the whole embedding and head.
    pub active: u64,
    /// Attention of one layer, including its own norms.
    pub attention: u64,
    /// The dense MLP of one layer.
    pub mlp: u64,
    /// Router, routed and shared experts of one layer; 0 without experts.
    pub moe: u64,
    /// The MTP module, without its copies of embedding and head.
    pub mtp: u64,
    /// The embedding; the head has the same size.
    pub embedding: u64,
}

impl Counts {
    /// Returns the number of parameters kept in memory.
    pub fn stored(&self) -> u64 {
        self.total + self.mtp
    }
}

impl MoeSizes {
    /// Returns the number of parameters of one layer: all, and those of the experts that a token does not use.
    fn counts(&self, hidden: u64) -> (u64, u64) {
        let [e, k, s] = [self.gate.n_routed_experts, self.gate.num_experts_per_tok, self.n_shared_experts];
        let [e, k, s] = [e, k, s].map(|n| n as u64);
        let expert = 3 * hidden * self.moe_intermediate_size as u64;
        ((e + s) * expert + e * hidden, (e - k) * expert)
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
            Arch::Grouped(g) => {
                let (q, kv) = (heads * g.head_dim as u64, (g.num_key_value_heads * g.head_dim) as u64);
                let bias = if g.qkv_bias { q + 2 * kv } else { 0 } + if g.o_bias { h } else { 0 };
                let norms = if g.qk_norm { 2 * g.head_dim as u64 } else { 0 };
                let attention = h * (2 * q + 2 * kv) + bias + norms;
                let (moe, idle) = self.moe().map_or((0, 0), |m| m.counts(h));
                let sparse = (0..self.num_hidden_layers).filter(|&l| self.is_moe(l)).count() as u64;
                let total = embeddings + h + layers * (attention + 2 * h) + (layers - sparse) * mlp + sparse * moe;
                Counts { total, active: total - sparse * idle, attention, mlp, moe, mtp: 0, embedding }
            }
            Arch::Deepseek(d) => {
                let [c, n, r, w] = [d.kv_lora_rank, d.qk_nope_head_dim, d.qk_rope_head_dim, d.v_head_dim];
                let [c, n, r, w] = [c, n, r, w].map(|n| n as u64);
                let query = match d.q_lora_rank {
                    Some(q) => q as u64 * (h + 1 + heads * (n + r)),
                    None => h * heads * (n + r),
                };
                let attention = query + h * (c + r) + c + c * heads * (n + w) + heads * w * h;
                let (moe, idle) = d.moe.counts(h);
                let (dense, sparse) = (d.first_k_dense_replace as u64, layers - d.first_k_dense_replace as u64);
                let total = embeddings + h + layers * (attention + 2 * h) + dense * mlp + sparse * moe;
                // enorm, hnorm, eh_proj, a whole layer, shared_head.norm (spec §1.6)
                let mtp = self.num_nextn_predict_layers as u64 * (3 * h + 2 * h * h + attention + 2 * h + moe);
                let active = total - sparse * idle;
                Counts { total, active, attention, mlp, moe, mtp, embedding }
            }
        }
    }

    /// Returns a close upper bound on the number of tensors of a checkpoint.
    pub(super) fn tensor_count(&self) -> u64 {
        let of_a_layer = 16 + self.moe().map_or(0, |m| 3 * m.gate.n_routed_experts as u64);
        3 + (self.num_hidden_layers as u64 + 1) * of_a_layer
    }
}
