//! Multi-head Latent Attention (MLA).
//!
//! DeepSeek-V2 (arXiv 2405.04434) §2.1, DeepSeek-V3 (arXiv 2412.19437) §2.1.1, eqs. 1–11. Keys and values are rebuilt
//! from one latent vector per token; in addition, all heads share one rotated key.
//!
//! Shapes: t tokens, H hidden_size, h heads, q q_lora_rank, c kv_lora_rank, n qk_nope_head_dim, r qk_rope_head_dim,
//! v v_head_dim.
//!
//! There are two forms, equal up to rounding. *Expanded* (training, prefill, exact decoding) rebuilds and caches k and
//! v: h·(n + r + v) numbers per token. *Absorbed* (decoding) folds W_UK into the query and W_UV into the output and
//! caches only the latent and the shared key: c + r numbers per token (V2 §2.1.2, App. C).
//!
//! `q_a_layernorm` and `kv_a_layernorm` always use eps 1e-6 and ignore `rms_norm_eps`, as in transformers.

use crate::Config;
use crate::attention::AttentionOptions;
use crate::config::Deepseek;
use crate::declare::Declare;
use meno_tensor::kv_cache::LayerSpec;
use meno_tensor::ops::attention::{Attention, HeadView};
use meno_tensor::ops::linear::Linear;
use meno_tensor::ops::mla::{AbsorbOutput, AbsorbQuery, MlaKeys};
use meno_tensor::ops::norm_linear::NormLinear;
use meno_tensor::ops::rms_norm::{Norm, RmsNorm};
use meno_tensor::ops::rope::{Pairs, Rope};
use meno_tensor::ops::{Builder, Columns};
use meno_tensor::tape::{Activation, Param, ParamLayout};

/// The epsilon of the norms of the compressed query and of the latent.
const LATENT_EPS: f32 = 1e-6;

/// How queries are computed.
#[derive(Clone, Copy, Debug)]
pub enum Query {
    /// Q = W_q x (V2-Lite, Moonlight).
    Direct {
        /// `q_proj`, `[h·(n+r), H]`.
        q_proj: Param,
    },
    /// c_Q = W_DQ x, Q = W_UQ RMSNorm(c_Q) (eqs. 6–7).
    Compressed {
        /// `q_a_proj`, `[q, H]`.
        q_a_proj: Param,
        /// `q_a_layernorm`, `[q]`.
        q_a_layernorm: Norm,
        /// `q_b_proj`, `[h·(n+r), q]`.
        q_b_proj: Param,
    },
}

/// The parameters and sizes of one layer's attention.
#[derive(Clone, Copy, Debug)]
pub struct Mla {
    query: Query,
    /// `[c + r, H]`: the latent, then the shared rotary key.
    kv_a_proj_with_mqa: Param,
    kv_a_layernorm: Norm,
    /// `[h·(n + v), c]`: for each head, the rows of k_nope, then those of the value.
    kv_b_proj: Param,
    /// `[H, h·v]`.
    o_proj: Param,
    h: usize,
    c: usize,
    n: usize,
    r: usize,
    v: usize,
    scale: f32,
    pairs: Pairs,
}

impl Mla {
    pub(crate) fn declare(mut d: Declare, config: &Config, sizes: &Deepseek) -> Mla {
        let (hidden, h) = (config.hidden_size, config.num_attention_heads);
        let Deepseek { kv_lora_rank: c, qk_nope_head_dim: n, qk_rope_head_dim: r, v_head_dim: v, .. } = *sizes;
        let (name, width) = match sizes.q_lora_rank {
            None => ("q_proj", h * (n + r)),
            Some(q) => ("q_a_proj", q),
        };
        let [first, kv_a_proj_with_mqa] = d.fused([(name, width), ("kv_a_proj_with_mqa", c + r)], hidden);
        Mla {
            query: match sizes.q_lora_rank {
                None => Query::Direct { q_proj: first },
                Some(q) => Query::Compressed {
                    q_a_proj: first,
                    q_a_layernorm: d.norm("q_a_layernorm", q, LATENT_EPS),
                    q_b_proj: d.linear("q_b_proj", h * (n + r), q),
                },
            },
            kv_a_proj_with_mqa,
            kv_a_layernorm: d.norm("kv_a_layernorm", c, LATENT_EPS),
            kv_b_proj: d.linear("kv_b_proj", h * (n + v), c),
            o_proj: d.linear("o_proj", hidden, h * v),
            h,
            c,
            n,
            r,
            v,
            scale: config.softmax_scale(),
            pairs: if sizes.rope_interleave { Pairs::Interleaved } else { Pairs::HalfSplit },
        }
    }

    /// Returns the cache sizes of one layer.
    pub(crate) fn cache_spec(&self, absorbed: bool) -> LayerSpec {
        match absorbed {
            false => LayerSpec { kv_heads: self.h, qk_dim: self.n + self.r, v_dim: self.v },
            true => LayerSpec { kv_heads: 1, qk_dim: self.c + self.r, v_dim: self.c },
        }
    }

    /// Appends x + MLA(norm(x)).
    pub(crate) fn push(
        &self,
        b: &mut Builder,
        p: &ParamLayout,
        x: Activation,
        norm: Norm,
        o: &AttentionOptions,
    ) -> Activation {
        let Mla { h, c, n, r, .. } = *self;
        // (eqs. 1, 6) One pass over norm(x) computes the query or its compression, the latent and the shared key.
        let first = match self.query {
            Query::Direct { q_proj } => q_proj,
            Query::Compressed { q_a_proj, .. } => q_a_proj,
        };
        let y =
            NormLinear::push(b, p, Columns::all(b, x), Some(norm), &[(first, None), (self.kv_a_proj_with_mqa, None)]);
        let first_width = p.info(first).shape[0];
        // y: [t, h·(n+r) or q | c | r]; the latent starts at `kv_a`.
        let kv_a = first_width;

        // (eqs. 7–9) Q = [q_nope_h ; RoPE(q_pe_h)] for every head h, [t, h·(n+r)]
        let q = match self.query {
            Query::Direct { .. } => y,
            Query::Compressed { q_a_layernorm, q_b_proj, .. } => {
                let c_q = Columns::range(b, y, 0..first_width);
                NormLinear::push(b, p, c_q, Some(q_a_layernorm), &[(q_b_proj, None)])
            }
        };
        let heads = |act, offset, head_stride, heads| (HeadView { act, offset, head_stride }, heads);
        self.rope(b, heads(q, n, n + r, h), o);
        // (eq. 3) k_pe = RoPE(W_KR x), one vector for all heads, without a norm.
        self.rope(b, heads(y, kv_a + c, 0, 1), o);

        let latent = Columns::range(b, y, kv_a..kv_a + c);
        let q = HeadView { act: q, offset: 0, head_stride: n + r };
        let k_pe = HeadView { act: y, offset: kv_a + c, head_stride: 0 };
        let out = match o.absorbed {
            false => self.expanded(b, p, q, latent, k_pe, o),
            true => self.absorbed(b, q, latent, k_pe, o),
        };
        // (eq. 11) u = W_O [o_1; …; o_h], on the residual stream.
        Linear::push(b, p, out, self.o_proj, None, Some(x))
    }

    fn rope(&self, b: &mut Builder, (x, heads): (HeadView, usize), o: &AttentionOptions) {
        let HeadView { act, offset, head_stride } = x;
        let (ld, table) = (b.cols(act), o.rope.clone());
        b.push(Rope { x: act, ld, offset, head_stride, heads, pairs: self.pairs, table });
    }

    /// Appends softmax(q_hᵀ k_h · scale) v_h with k and v rebuilt for every head (eqs. 2, 4, 5, 10); returns
    /// `[t, h·v]`.
    fn expanded(
        &self,
        b: &mut Builder,
        p: &ParamLayout,
        q: HeadView,
        latent: Columns,
        k_pe: HeadView,
        o: &AttentionOptions,
    ) -> Activation {
        let Mla { h, n, r, v, .. } = *self;
        // (eqs. 2, 5) [k_nope_h ; v_h] = W_UKV RMSNorm(c_KV), [t, h·(n+v)]
        let kv = NormLinear::push(b, p, latent, Some(self.kv_a_layernorm), &[(self.kv_b_proj, None)]);
        // (eq. 4) k_h = [k_nope_h ; k_pe], [t, h·(n+r)]
        let k = b.activation(h * (n + r));
        let nope = HeadView { act: kv, offset: 0, head_stride: n + v };
        b.push(MlaKeys { nope, k_pe, k, heads: h, nope_dim: n, rope_dim: r });
        let out = b.activation(h * v);
        let lse = b.activation(h);
        b.push(Attention {
            q,
            k: HeadView { act: k, offset: 0, head_stride: n + r },
            v: HeadView { act: kv, offset: n, head_stride: n + v },
            out,
            lse,
            heads: h,
            kv_heads: h,
            qk_dim: n + r,
            v_dim: v,
            scale: self.scale,
            layer: o.layer,
        });
        out
    }

    /// Appends the equivalent attention over the latent: q̃_h = W_UK,hᵀ q_nope_h; score = q̃_h·c_KV + q_pe_h·k_pe;
    /// o_h = W_UV,h Σ p c_KV; returns `[t, h·v]`.
    fn absorbed(
        &self,
        b: &mut Builder,
        q: HeadView,
        latent: Columns,
        k_pe: HeadView,
        o: &AttentionOptions,
    ) -> Activation {
        let Mla { h, c, n, r, v, kv_b_proj: weight, .. } = *self;
        // k = [RMSNorm(c_KV) ; k_pe], the only key of a token, [t, c + r]; its first c columns are the value.
        let normed = b.activation(c);
        let normed_view = Columns::all(b, normed);
        b.push(RmsNorm { x: latent, norm: self.kv_a_layernorm, y: normed_view });
        let k = b.activation(c + r);
        let nope = HeadView { act: normed, offset: 0, head_stride: 0 };
        b.push(MlaKeys { nope, k_pe, k, heads: 1, nope_dim: c, rope_dim: r });
        let query = b.activation(h * (c + r));
        let (heads, nope_dim, rope_dim, v_dim, kv_lora_rank) = (h, n, r, v, c);
        b.push(AbsorbQuery { q, weight, y: query, heads, nope_dim, rope_dim, v_dim, kv_lora_rank });
        let mixed = b.activation(h * c);
        let lse = b.activation(h);
        let k = HeadView { act: k, offset: 0, head_stride: 0 };
        b.push(Attention {
            q: HeadView { act: query, offset: 0, head_stride: c + r },
            k,
            v: k,
            out: mixed,
            lse,
            heads: h,
            kv_heads: 1,
            qk_dim: c + r,
            v_dim: c,
            scale: self.scale,
            layer: o.layer,
        });
        let out = b.activation(h * v);
        b.push(AbsorbOutput { x: mixed, weight, y: out, heads, nope_dim, v_dim, kv_lora_rank });
        out
    }
}
