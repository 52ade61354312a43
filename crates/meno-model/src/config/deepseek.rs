//! The keys shared by DeepSeek-V2, V3 and related networks: MLA, DeepSeekMoE, MTP.

use super::keys::Keys;
use super::moe::MoeSizes;
use crate::Error;
use meno_tensor::ops::router::{Gate, Scoring, TopkMethod};

/// Sizes of MLA (DeepSeek-V2, arXiv 2405.04434, §2.1), DeepSeekMoE (§2.2) and MTP (DeepSeek-V3, arXiv 2412.19437,
/// §2.2).
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Deepseek {
    /// Width of the compressed query; `None` if queries are not compressed.
    pub q_lora_rank: Option<usize>,
    /// Width of the latent that keys and values are rebuilt from.
    pub kv_lora_rank: usize,
    pub qk_nope_head_dim: usize,
    pub qk_rope_head_dim: usize,
    pub v_head_dim: usize,
    /// True if rotary pairs are adjacent, as in the published weights; otherwise they are half a head apart.
    pub rope_interleave: bool,
    /// Layers with a dense MLP before those with experts.
    pub first_k_dense_replace: usize,
    pub moe: MoeSizes,
}

/// The defaults of absent gate keys.
pub(super) struct Defaults {
    pub(super) scoring_func: Scoring,
    pub(super) topk_method: TopkMethod,
    pub(super) norm_topk_prob: bool,
    pub(super) routed_scaling_factor: f64,
}

pub(super) fn parse(k: Keys, defaults: Defaults) -> Result<Deepseek, Error> {
    k.only("attention_bias", &false.into(), "no published model has biases in MLA")?;
    k.only("moe_layer_freq", &1.into(), "every layer after the dense ones has experts")?;
    let topk_methods = [
        ("noaux_tc", TopkMethod::NoauxTc),
        ("greedy", TopkMethod::Greedy),
        ("group_limited_greedy", TopkMethod::GroupLimitedGreedy),
    ];
    let alpha = k.opt_number("aux_loss_alpha", "a number, 0 or above", |x| x >= 0.0)?;
    let gate = Gate {
        scoring_func: k.choice(
            "scoring_func",
            Some(defaults.scoring_func),
            &[("sigmoid", Scoring::Sigmoid), ("softmax", Scoring::Softmax)],
        )?,
        topk_method: k.choice("topk_method", Some(defaults.topk_method), &topk_methods)?,
        n_routed_experts: k.size_up_to("n_routed_experts", 1 << 12)?,
        num_experts_per_tok: k.size_up_to("num_experts_per_tok", 1 << 12)?,
        n_group: k.opt_size_up_to("n_group", 64)?.unwrap_or(1),
        topk_group: k.opt_size_up_to("topk_group", 64)?.unwrap_or(1),
        norm_topk_prob: k.flag("norm_topk_prob", defaults.norm_topk_prob)?,
        routed_scaling_factor: k.opt_positive("routed_scaling_factor")?.unwrap_or(defaults.routed_scaling_factor)
            as f32,
        aux_loss_alpha: alpha.unwrap_or(0.0) as f32,
    };
    Ok(Deepseek {
        q_lora_rank: k.opt_size("q_lora_rank")?,
        kv_lora_rank: k.size("kv_lora_rank")?,
        qk_nope_head_dim: k.size_up_to("qk_nope_head_dim", 1 << 14)?,
        qk_rope_head_dim: k.size_up_to("qk_rope_head_dim", 1 << 14)?,
        v_head_dim: k.size_up_to("v_head_dim", 1 << 14)?,
        rope_interleave: k.flag("rope_interleave", true)?,
        first_k_dense_replace: k.count("first_k_dense_replace", 1 << 10)?,
        moe: MoeSizes {
            moe_intermediate_size: k.size("moe_intermediate_size")?,
            n_shared_experts: k.count("n_shared_experts", 1 << 8)?,
            gate,
        },
    })
}

impl Deepseek {
    pub(super) fn check(&self, k: Keys, num_hidden_layers: usize) -> Result<(), Error> {
        let g = &self.moe.gate;
        let Gate { n_routed_experts: experts, num_experts_per_tok: top_k, n_group, topk_group, .. } = *g;
        if !self.qk_rope_head_dim.is_multiple_of(2) {
            let what = format!("is {}: must be even, for rotary pairs", self.qk_rope_head_dim);
            return Err(k.error("qk_rope_head_dim", what));
        }
        if self.first_k_dense_replace > num_hidden_layers {
            let what = format!("is {}, above num_hidden_layers {num_hidden_layers}", self.first_k_dense_replace);
            return Err(k.error("first_k_dense_replace", what));
        }
        if !experts.is_multiple_of(n_group) {
            return Err(k.error("n_group", format!("is {n_group}, which does not divide n_routed_experts {experts}")));
        }
        if topk_group > n_group {
            return Err(k.error("topk_group", format!("is {topk_group}, above n_group {n_group}")));
        }
        let reachable = if g.topk_method == TopkMethod::Greedy { experts } else { experts / n_group * topk_group };
        if top_k > reachable {
            let what = format!(
                "is {top_k}, but a token can only reach {reachable} experts (n_routed_experts {experts}, \
                                n_group {n_group}, topk_group {topk_group})"
            );
            return Err(k.error("num_experts_per_tok", what));
        }
        Ok(())
    }
}
