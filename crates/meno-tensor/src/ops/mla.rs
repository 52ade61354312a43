//! The ops that Multi-head Latent Attention adds to [`super::attention`] (DeepSeek-V3, arXiv 2412.19437, §2.1.1).
//!
//! *Expanded* (training, prefill, exact decoding): [`MlaKeys`] assembles every head's key, k_h = [k_nope_h ; k_pe],
//! from the up-projection of the latent and the one rotated k_pe that all heads share.
//!
//! *Absorbed* (decoding, agrees to 1e-5): W_kvb is folded into query and output, so that one head of width c + r serves
//! all query heads: q̃_h = W_UK,hᵀ q_nope_h ([`AbsorbQuery`]), score = q̃_h·c_kv + q_pe_h·k_pe, and
//! o_h = W_UV,h · Σ p c_kv ([`AbsorbOutput`]). Its keys [c_kv ; k_pe] are [`MlaKeys`] with one head; its values are the
//! first c columns of these keys.
//!
//! Shapes: t tokens, h heads, n qk_nope_head_dim, r qk_rope_head_dim, v v_head_dim, c kv_lora_rank.

use super::attention::HeadView;
use crate::tape::{Activation, Describe, Io, Param};

/// Assembles keys from their two parts: k_h = [nope_h ; k_pe] for every head h.
pub struct MlaKeys {
    /// The per-head part, `heads` × n: columns of the output of `kv_b_proj` (or the latent itself).
    pub nope: HeadView,
    /// The part shared by all heads, one head of width r, rotated: columns of the output of `kv_a_proj_with_mqa`.
    pub k_pe: HeadView,
    /// Output `[t, heads·(n + r)]`.
    pub k: Activation,
    /// Number of heads.
    pub heads: usize,
    /// n.
    pub nope_dim: usize,
    /// r.
    pub rope_dim: usize,
}

impl Describe for MlaKeys {
    fn name(&self) -> &'static str {
        "mla_keys"
    }
    fn io(&self) -> Io {
        let inputs = vec![self.nope.act, self.k_pe.act];
        Io {
            reads: inputs.clone(),
            writes: vec![self.k],
            grad_reads: vec![self.k],
            grad_writes: inputs,
            ..Io::default()
        }
    }
}

/// Computes the queries against the latent: q_h = [W_UK,hᵀ q_nope_h ; q_pe_h]. Inference only.
pub struct AbsorbQuery {
    /// Queries, `heads` × (n + r), the last r columns rotated.
    pub q: HeadView,
    /// `kv_b_proj.weight`, `[h·(n+v), c]`.
    pub weight: Param,
    /// Output `[t, heads·(c + r)]`.
    pub y: Activation,
    /// Number of heads.
    pub heads: usize,
    /// n.
    pub nope_dim: usize,
    /// r.
    pub rope_dim: usize,
    /// v.
    pub v_dim: usize,
    /// c.
    pub kv_lora_rank: usize,
}

impl Describe for AbsorbQuery {
    fn name(&self) -> &'static str {
        "absorb_query"
    }
    fn io(&self) -> Io {
        Io { reads: vec![self.q.act], writes: vec![self.y], ..Io::default() }
    }
    fn flops(&self, rows: usize) -> u64 {
        2 * (rows * self.heads * self.nope_dim * self.kv_lora_rank) as u64
    }
}

/// Computes the output of absorbed attention: o_h = W_UV,h ō_h. Inference only.
pub struct AbsorbOutput {
    /// ō `[t, heads·c]`.
    pub x: Activation,
    /// `kv_b_proj.weight`, `[h·(n+v), c]`.
    pub weight: Param,
    /// Output `[t, heads·v]`.
    pub y: Activation,
    /// Number of heads.
    pub heads: usize,
    /// n.
    pub nope_dim: usize,
    /// v.
    pub v_dim: usize,
    /// c.
    pub kv_lora_rank: usize,
}

impl Describe for AbsorbOutput {
    fn name(&self) -> &'static str {
        "absorb_output"
    }
    fn io(&self) -> Io {
        Io { reads: vec![self.x], writes: vec![self.y], ..Io::default() }
    }
    fn flops(&self, rows: usize) -> u64 {
        2 * (rows * self.heads * self.v_dim * self.kv_lora_rank) as u64
    }
}

#[cfg(test)]
mod tests;
