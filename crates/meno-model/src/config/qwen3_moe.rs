//! `qwen3_moe`: Qwen 3 with experts (arXiv 2505.09388 §2): no shared experts, a softmax gate, in all layers or every
//! few.

use super::grouped::{self, Grouped, SparseLayers};
use super::keys::Keys;
use super::moe::MoeSizes;
use super::qwen3;
use crate::Error;
use meno_tensor::ops::router::{Gate, Scoring, TopkMethod};
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) fn parse(k: Keys, heads: (usize, usize)) -> Result<Grouped, Error> {
    let attention = match k.get("head_dim") {
        Some(_) => qwen3::parse(k, heads)?,
        // Unlike Qwen3Config, Qwen3MoeConfig has no default of `head_dim`.
        None => Grouped { head_dim: grouped::shared_out(k, heads)?, ..qwen3::parse(k, heads)? },
    };
    let gate = Gate {
        scoring_func: Scoring::Softmax,
        topk_method: TopkMethod::Greedy,
        n_routed_experts: match k.opt_size_up_to("num_local_experts", 1 << 12)? {
            // transformers 5 writes this key instead of the published one.
            Some(experts) if k.get("num_experts").is_none() => experts,
            _ => k.size_up_to("num_experts", 1 << 12)?,
        },
        num_experts_per_tok: k.size_up_to("num_experts_per_tok", 1 << 12)?,
        n_group: 1,
        topk_group: 1,
        norm_topk_prob: k.flag("norm_topk_prob", false)?,
        routed_scaling_factor: 1.0,
        aux_loss_alpha: 0.0,
    };
    let moe = MoeSizes { moe_intermediate_size: k.size("moe_intermediate_size")?, n_shared_experts: 0, gate };
    let sparse = SparseLayers {
        decoder_sparse_step: k.opt_size_up_to("decoder_sparse_step", 1 << 10)?.unwrap_or(1),
        mlp_only_layers: mlp_only_layers(k)?,
        moe,
    };
    Ok(Grouped { sparse: Some(sparse), ..attention })
}

/// Returns the list of layers without experts.
fn mlp_only_layers(k: Keys) -> Result<Vec<usize>, Error> {
    let key = "mlp_only_layers";
    let wrong = |v: &Value| k.error(key, format!("is {v}: expected a list of layers, counted from 0"));
    let Some(list) = k.get(key) else { return Ok(Vec::new()) };
    let layers = list.as_array().ok_or_else(|| wrong(list))?;
    let layer = |v: &Value| v.as_u64().filter(|&n| n < 1 << 10).map(|n| n as usize).ok_or_else(|| wrong(list));
    // Duplicates are removed: the list is searched for every layer, and may be as long as the file.
    Ok(layers.iter().map(layer).collect::<Result<BTreeSet<_>, _>>()?.into_iter().collect())
}
