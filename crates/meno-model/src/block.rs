//! A transformer block: x ← x + Attention(RMSNorm(x)); x ← x + FFN(RMSNorm(x)) (spec §1.2).

use crate::declare::Declare;
use crate::gqa::Gqa;
use crate::mla::{AttentionOptions, Mla};
use crate::moe::Moe;
use meno_tensor::kv_cache::LayerSpec;
use meno_tensor::ops::View;
use meno_tensor::ops::norm_linear::NormLinear;
use meno_tensor::ops::rms_norm::Norm;
use meno_tensor::ops::swiglu::SwigluLinear;
use meno_tensor::params::{Param, Params};
use meno_tensor::tape::{Act, Builder};

/// A SwiGLU MLP: W_down (silu(W_gate x) ⊙ W_up x) (Shazeer, arXiv 2002.05202).
#[derive(Clone, Copy, Debug)]
pub struct Mlp {
    gate_proj: Param,
    up_proj: Param,
    down_proj: Param,
}

impl Mlp {
    pub(crate) fn declare(mut d: Declare, hidden: usize, width: usize) -> Mlp {
        let [gate_proj, up_proj] = d.joined([("gate_proj", width), ("up_proj", width)], hidden);
        Mlp { gate_proj, up_proj, down_proj: d.linear("down_proj", hidden, width) }
    }

    /// Appends residual + MLP(norm(x)).
    pub(crate) fn push(&self, b: &mut Builder, p: &Params, x: Act, norm: Option<Norm>, residual: Act) -> Act {
        let weights = [(self.gate_proj, None), (self.up_proj, None)];
        let gate_up = NormLinear::push(b, p, View::all(b, x), norm, &weights);
        SwigluLinear::push(b, p, gate_up, self.down_proj, Some(residual))
    }
}

/// The attention of a block.
#[derive(Clone, Copy, Debug)]
pub enum Attention {
    /// DeepSeek.
    Mla(Mla),
    /// Llama, Qwen2.
    Gqa(Gqa),
}

/// The feed-forward network of a block.
#[derive(Clone, Debug)]
pub enum Ffn {
    /// One MLP for all tokens.
    Mlp(Mlp),
    /// Experts.
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
    /// Appends the block on the residual stream `x` `[t, H]`.
    pub(crate) fn push(&self, b: &mut Builder, p: &Params, x: Act, o: &AttentionOptions) -> Act {
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
