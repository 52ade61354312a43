//! The keys shared by networks with grouped-query attention.

use super::keys::Keys;
use super::moe::MoeSizes;
use crate::Error;

/// Attention sizes and, in some networks, experts.
#[derive(Clone, Debug, PartialEq)]
pub struct Grouped {
    /// Number of key and value heads; each serves `num_attention_heads / num_key_value_heads` query heads.
    pub num_key_value_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// True if q, k and v have a bias.
    pub qkv_bias: bool,
    /// True if the output projection has a bias.
    pub o_bias: bool,
    /// True if every query and key head is normalized before it is rotated (Qwen 3).
    pub qk_norm: bool,
    /// The layers with experts, if any.
    pub sparse: Option<SparseLayers>,
    /// Constant factors (Granite).
    pub multipliers: Multipliers,
}

/// Constant factors of a network, under Granite's keys. Other networks have the default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Multipliers {
    /// Factor of the embedding.
    pub embedding_multiplier: f32,
    /// Factor of the scores; `None` for head_dim^-1/2.
    pub attention_multiplier: Option<f32>,
    /// Factor of what attention and MLP add to the residual stream.
    pub residual_multiplier: f32,
    /// Divides the logits.
    pub logits_scaling: f32,
}

impl Default for Multipliers {
    fn default() -> Self {
        Multipliers {
            embedding_multiplier: 1.0,
            attention_multiplier: None,
            residual_multiplier: 1.0,
            logits_scaling: 1.0,
        }
    }
}

/// The layers that have experts, and their sizes.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseLayers {
    /// Every `decoder_sparse_step`-th layer has experts.
    pub decoder_sparse_step: usize,
    /// Layers that are excepted from this rule and have no experts.
    pub mlp_only_layers: Vec<usize>,
    /// The sizes of the experts.
    pub moe: MoeSizes,
}

impl SparseLayers {
    /// Returns true if layer `layer` has experts.
    pub fn is_sparse(&self, layer: usize) -> bool {
        (layer + 1).is_multiple_of(self.decoder_sparse_step) && !self.mlp_only_layers.contains(&layer)
    }
}

/// Returns the default of `head_dim`: hidden_size / heads.
pub(super) fn shared_out(k: Keys, (hidden_size, heads): (usize, usize)) -> Result<usize, Error> {
    if hidden_size.is_multiple_of(heads) {
        return Ok(hidden_size / heads);
    }
    let what =
        format!("is {heads}, which does not divide hidden_size {hidden_size}; give head_dim, or correct one of them");
    Err(k.error("num_attention_heads", what))
}

/// Parses the keys without biases, norms and experts; `head_dim` returns the width of a head if the key is absent.
pub(super) fn parse(k: Keys, heads: usize, head_dim: impl FnOnce() -> Result<usize, Error>) -> Result<Grouped, Error> {
    k.only("mlp_bias", &false.into(), "no published model has biases in its MLPs")?;
    k.only("use_sliding_window", &false.into(), "attention is over the whole sequence")?;
    Ok(Grouped {
        num_key_value_heads: k.opt_size_up_to("num_key_value_heads", 1 << 12)?.unwrap_or(heads),
        head_dim: k.opt_size_up_to("head_dim", 1 << 14)?.map_or_else(head_dim, Ok)?,
        qkv_bias: false,
        o_bias: false,
        qk_norm: false,
        sparse: None,
        multipliers: Multipliers::default(),
    })
}

impl Grouped {
    pub(super) fn check(&self, k: Keys, heads: usize) -> Result<(), Error> {
        if !heads.is_multiple_of(self.num_key_value_heads) {
            let what = format!(
                "is {}, which does not divide num_attention_heads {heads}: every key head must serve the same number \
                 of query heads",
                self.num_key_value_heads
            );
            return Err(k.error("num_key_value_heads", what));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(k.error("head_dim", format!("is {}: must be even, for rotary pairs", self.head_dim)));
        }
        let Some(sparse) = &self.sparse else { return Ok(()) };
        let gate = &sparse.moe.gate;
        if gate.num_experts_per_tok > gate.n_routed_experts {
            let what = format!("is {}, above num_experts {}", gate.num_experts_per_tok, gate.n_routed_experts);
            return Err(k.error("num_experts_per_tok", what));
        }
        Ok(())
    }
}
