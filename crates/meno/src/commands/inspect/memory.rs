//! Counting parameters and bytes.

use super::listing::{Listing, Tensor};
use serde_json::Value;

/// How many parameters there are, and where.
#[derive(Default, Debug, PartialEq)]
pub(super) struct Parameters {
    pub(super) total: u64,
    /// Used for one token: of the routed experts only those chosen, without multi-token prediction.
    pub(super) active: u64,
    pub(super) embedding: u64,
    pub(super) attention: u64,
    pub(super) mlp: u64,
    pub(super) experts: u64,
    pub(super) norms: u64,
    pub(super) lm_head: u64,
    pub(super) mtp: u64,
    pub(super) other: u64,
}

impl Parameters {
    pub(super) fn count(listing: &Listing) -> Parameters {
        let config = listing.config.as_ref().unwrap_or(&Value::Null);
        let layers = config["num_hidden_layers"].as_u64();
        let experts = config["n_routed_experts"].as_u64().filter(|&n| n > 0);
        let mut p = Parameters::default();
        for tensor in &listing.tensors {
            let n = tensor.elements();
            let mtp = layer(&tensor.name).zip(layers).is_some_and(|(i, layers)| i >= layers);
            p.total = p.total.saturating_add(n);
            let part = p.part(&tensor.name, mtp);
            *part = part.saturating_add(n);
            let active = match (experts, config["num_experts_per_tok"].as_u64()) {
                _ if mtp => 0,
                (Some(experts), Some(used)) if tensor.name.contains(".mlp.experts.") => {
                    (n as u128 * used.min(experts) as u128 / experts as u128) as u64
                }
                _ => n,
            };
            p.active = p.active.saturating_add(active);
        }
        p
    }

    fn part(&mut self, name: &str, mtp: bool) -> &mut u64 {
        match name {
            _ if mtp => &mut self.mtp,
            "lm_head.weight" => &mut self.lm_head,
            "model.embed_tokens.weight" => &mut self.embedding,
            _ if name.contains("norm") => &mut self.norms,
            _ if name.contains(".self_attn.") => &mut self.attention,
            _ if name.contains(".mlp.experts.") => &mut self.experts,
            _ if name.contains(".mlp.") => &mut self.mlp,
            _ => &mut self.other,
        }
    }

    /// The parts that there are, largest matter first in the order of the network.
    pub(super) fn parts(&self) -> Vec<(&'static str, u64)> {
        let parts = [
            ("embedding", self.embedding),
            ("attention", self.attention),
            ("mlp", self.mlp),
            ("routed experts", self.experts),
            ("norms", self.norms),
            ("lm_head", self.lm_head),
            ("multi-token prediction", self.mtp),
            ("other", self.other),
        ];
        parts.into_iter().filter(|(_, n)| *n > 0).collect()
    }
}

/// The layer that a tensor belongs to.
pub(super) fn layer(name: &str) -> Option<u64> {
    name.strip_prefix("model.layers.")?.split('.').next()?.parse().ok()
}

/// Numbers in the KV cache for one token, and what holds them. Meno caches in f32.
pub(super) fn cache_per_token(config: &Value) -> Vec<(&'static str, u64)> {
    let get = |key: &str| config[key].as_u64().filter(|&n| n < 1 << 32);
    let cache = || {
        let (layers, heads) = (get("num_hidden_layers")?, get("num_attention_heads")?);
        if let Some(rank) = get("kv_lora_rank") {
            let (nope, rope, v) = (get("qk_nope_head_dim")?, get("qk_rope_head_dim")?, get("v_head_dim")?);
            // Absorbed decoding reads the latent once as keys (with the rotary part) and once as values.
            return Some(vec![
                ("expanded", layers.checked_mul(heads.checked_mul(nope + rope + v)?)?),
                ("latent", layers.checked_mul(2 * rank + rope)?),
            ]);
        }
        let head = get("head_dim").or_else(|| get("hidden_size")?.checked_div(heads))?;
        let kv_heads = get("num_key_value_heads").unwrap_or(heads);
        Some(vec![("keys and values", layers.checked_mul(kv_heads.checked_mul(2 * head)?)?)])
    };
    cache().unwrap_or_default()
}

/// Bytes by type, most first.
pub(super) fn bytes_by_dtype(tensors: &[Tensor]) -> Vec<(String, u64)> {
    let mut sums: Vec<(String, u64)> = Vec::new();
    for t in tensors {
        match sums.iter_mut().find(|(dtype, _)| *dtype == t.dtype) {
            Some((_, bytes)) => *bytes = bytes.saturating_add(t.bytes),
            None => sums.push((t.dtype.clone(), t.bytes)),
        }
    }
    sums.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    sums
}

/// f32 weights, their gradients and AdamW's two moments; activations depend on the recipe.
pub(super) const ADAMW_BYTES_PER_PARAMETER: u64 = 16;
