//! A transformer block: x ← x + Attention(RMSNorm(x)); x ← x + FFN(RMSNorm(x)) (spec §1.2).

use crate::attention::AttentionOptions;
use crate::gqa::Gqa;
use crate::mla::Mla;
use crate::mlp::Mlp;
use crate::moe::Moe;
use meno_tensor::kv_cache::LayerSpec;
use meno_tensor::ops::Builder;
use meno_tensor::ops::rms_norm::Norm;
use meno_tensor::tape::{Activation, ParamLayout};

/// The attention of a block.
#[derive(Clone, Copy, Debug)]
pub enum Attention {
    /// Multi-head latent attention (DeepSeek).
    Mla(Mla),
    /// Grouped-query attention (Llama, Qwen).
    Gqa(Gqa),
}

/// The feed-forward network of a block.
#[derive(Clone, Debug)]
pub enum Ffn {
    /// One MLP for all tokens.
    Mlp(Mlp),
    /// A mixture of experts.
    Moe(Moe),
}

/// One layer.
#[derive(Clone, Debug)]
pub struct Block {
    pub(crate) input_layernorm: Norm,
    pub(crate) attention: Attention,
    pub(crate) post_attention_layernorm: Norm,
    pub(crate) ffn: Ffn,
}

impl Block {
    /// Appends the block to the residual stream `x` `[t, H]`.
    pub(crate) fn push(&self, b: &mut Builder, p: &ParamLayout, x: Activation, o: &AttentionOptions) -> Activation {
        b.block(|b| {
            let x = match &self.attention {
                Attention::Mla(mla) => mla.push(b, p, x, self.input_layernorm, o),
                Attention::Gqa(gqa) => gqa.push(b, p, x, self.input_layernorm, o),
            };
            match &self.ffn {
                Ffn::Mlp(mlp) => mlp.push(b, p, x, Some(self.post_attention_layernorm), x),
                Ffn::Moe(moe) => moe.push(b, p, x, self.post_attention_layernorm),
            }
        })
    }

    pub(crate) fn cache_spec(&self, absorbed: bool) -> LayerSpec {
        match &self.attention {
            Attention::Mla(mla) => mla.cache_spec(absorbed),
            Attention::Gqa(gqa) => gqa.cache_spec(),
        }
    }
}
