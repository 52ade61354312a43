//! A transformer block: x ← x + Attention(RMSNorm(x)); x ← x + FFN(RMSNorm(x)) (spec §1.2).

use crate::Config;
use crate::attention::AttentionOptions;
use crate::config::Deepseek;
use crate::declare::Declare;
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
    /// Declares a layer of DeepSeek-V2 or V3.
    pub(crate) fn declare_deepseek(d: &mut Declare, config: &Config, sizes: &Deepseek, moe: bool) -> Block {
        let (hidden, eps) = (config.hidden_size, config.rms_norm_eps);
        Block {
            input_layernorm: d.norm("input_layernorm", hidden, eps),
            attention: Attention::Mla(Mla::declare(d.under("self_attn"), config, sizes)),
            post_attention_layernorm: d.norm("post_attention_layernorm", hidden, eps),
            ffn: match moe {
                false => Ffn::Mlp(Mlp::declare(d.under("mlp"), hidden, config.intermediate_size)),
                true => Ffn::Moe(Moe::declare(d.under("mlp"), config, &sizes.moe)),
            },
        }
    }

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
