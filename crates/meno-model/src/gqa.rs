//! Grouped-query attention (Ainslie et al., arXiv 2305.13245), as in Llama and Qwen.
//!
//! Shapes: t tokens, H hidden_size, h heads of queries, g heads of keys and values, d head_dim.

use crate::Config;
use crate::attention::AttentionOptions;
use crate::config::Grouped;
use crate::declare::Declare;
use meno_tensor::kv_cache::LayerSpec;
use meno_tensor::ops::attention::{Attention, HeadView};
use meno_tensor::ops::linear::Linear;
use meno_tensor::ops::norm_linear::NormLinear;
use meno_tensor::ops::qk_norm::QkNorm;
use meno_tensor::ops::rms_norm::Norm;
use meno_tensor::ops::rope::{Pairs, Rope};
use meno_tensor::ops::{Builder, Columns};
use meno_tensor::tape::{Activation, Param, ParamLayout};

/// The parameters and sizes of one layer's attention.
#[derive(Clone, Copy, Debug)]
pub struct Gqa {
    /// q, k, v: weight and bias.
    qkv: [(Param, Option<Param>); 3],
    /// `[H, h·d]`.
    o_proj: Param,
    o_bias: Option<Param>,
    /// Norms of every q head and k head, `[d]` each (Qwen 3).
    qk_norm: Option<[Norm; 2]>,
    h: usize,
    g: usize,
    d: usize,
    scale: f32,
}

impl Gqa {
    pub(crate) fn declare(mut dec: Declare, config: &Config, sizes: &Grouped) -> Gqa {
        let (hidden, h) = (config.hidden_size, config.num_attention_heads);
        let Grouped { num_key_value_heads: g, head_dim: d, qkv_bias, o_bias, qk_norm, .. } = *sizes;
        let layers = [("q_proj", h * d), ("k_proj", g * d), ("v_proj", g * d)];
        let weights = dec.fused(layers, hidden);
        let mut qkv = weights.map(|weight| (weight, None));
        for ((_, bias), (name, outputs)) in qkv.iter_mut().zip(layers) {
            *bias = qkv_bias.then(|| dec.bias(name, outputs));
        }
        let o_proj = dec.linear("o_proj", hidden, h * d);
        let o_bias = o_bias.then(|| dec.bias("o_proj", hidden));
        let eps = config.rms_norm_eps;
        let qk_norm = qk_norm.then(|| ["q_norm", "k_norm"].map(|name| dec.norm(name, d, eps)));
        Gqa { qkv, o_proj, o_bias, qk_norm, h, g, d, scale: config.softmax_scale() }
    }

    pub(crate) fn cache_spec(&self) -> LayerSpec {
        LayerSpec { kv_heads: self.g, qk_dim: self.d, v_dim: self.d }
    }

    /// Appends x + attention(norm(x)).
    pub(crate) fn push(
        &self,
        b: &mut Builder,
        p: &ParamLayout,
        x: Activation,
        norm: Norm,
        o: &AttentionOptions,
    ) -> Activation {
        let Gqa { h, g, d, .. } = *self;
        // [q_1 … q_h | k_1 … k_g | v_1 … v_g] = W_qkv norm(x) (+ b), [t, (h + 2g)·d]
        let qkv = NormLinear::push(b, p, Columns::all(b, x), Some(norm), &self.qkv);
        // Queries and keys are adjacent, [t, … (h + g)·d …]: one rotation covers both.
        let qk = match self.qk_norm {
            None => qkv,
            Some([q_norm, k_norm]) => {
                let qk = b.activation((h + g) * d);
                for (norm, heads) in [(q_norm, 0..h * d), (k_norm, h * d..(h + g) * d)] {
                    let (x, y) = (Columns::range(b, qkv, heads.clone()), Columns::range(b, qk, heads));
                    b.push(QkNorm { x, norm, y });
                }
                qk
            }
        };
        let (ld, table) = (b.cols(qk), o.rope.clone());
        b.push(Rope { x: qk, ld, offset: 0, head_stride: d, heads: h + g, pairs: Pairs::HalfSplit, table });
        let head = |act, first| HeadView { act, offset: first * d, head_stride: d };
        let out = b.activation(h * d);
        let lse = b.activation(h);
        b.push(Attention {
            q: head(qk, 0),
            k: head(qk, h),
            v: head(qkv, h + g),
            out,
            lse,
            heads: h,
            kv_heads: g,
            qk_dim: d,
            v_dim: d,
            scale: self.scale,
            layer: o.layer,
        });
        Linear::push(b, p, out, self.o_proj, self.o_bias, Some(x))
    }
}
