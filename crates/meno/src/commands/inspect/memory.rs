//! Counts parameters and bytes.

use super::listing::{Listing, Tensor};
use meno_model::{InferOptions, Model};
use std::collections::BTreeMap;

/// The number of parameters, in total and by part.
#[derive(Default, Debug, PartialEq)]
pub(super) struct Parameters {
    pub(super) total: u64,
    /// Parameters used for one token: only the selected routed experts, and no multi-token prediction.
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
        let layers = listing.config.as_ref().map(|c| c.num_hidden_layers as u64);
        let gate = listing.config.as_ref().and_then(|c| c.moe()).map(|m| &m.gate);
        let mut p = Parameters::default();
        // The scale factors of FP8 blocks are not parameters.
        for tensor in listing.tensors.iter().filter(|t| !t.name.ends_with("_scale_inv")) {
            let n = tensor.elements();
            let mtp = layer(&tensor.name).zip(layers).is_some_and(|(i, layers)| i >= layers);
            p.total = p.total.saturating_add(n);
            let part = p.part(&tensor.name, mtp);
            *part = part.saturating_add(n);
            let active = match gate {
                _ if mtp => 0,
                Some(gate) if tensor.name.contains(".mlp.experts.") => {
                    (n as u128 * gate.num_experts_per_tok as u128 / gate.n_routed_experts.max(1) as u128) as u64
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

    /// The parts that exist, in the order of the network.
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

/// The layer number of a tensor.
pub(super) fn layer(name: &str) -> Option<u64> {
    let number = name.strip_prefix("model.layers.")?.split('.').next()?;
    // Accept only the canonical form of a number: `007` and `+7` are other names.
    number.parse().ok().filter(|n: &u64| n.to_string() == number)
}

/// Values in the KV cache per token, and what holds them. Meno caches in f32.
pub(super) fn cache_per_token(listing: &Listing) -> Vec<(&'static str, u64)> {
    let Some(config) = &listing.config else { return Vec::new() };
    let numbers = |absorbed| -> u64 {
        let layers = Model::cache_shapes(config, InferOptions { absorbed });
        layers.iter().map(|l| (l.kv_heads * (l.qk_dim + l.v_dim)) as u64).sum()
    };
    match config.deepseek() {
        Some(_) => vec![("expanded", numbers(false)), ("latent", numbers(true))],
        None => vec![("keys and values", numbers(false))],
    }
}

/// Bytes by type, largest first.
pub(super) fn bytes_by_dtype(tensors: &[Tensor]) -> Vec<(String, u64)> {
    let mut by_dtype: BTreeMap<&str, u64> = BTreeMap::new();
    for t in tensors {
        let bytes = by_dtype.entry(&t.dtype).or_default();
        *bytes = bytes.saturating_add(t.bytes);
    }
    let mut sums: Vec<(String, u64)> = by_dtype.into_iter().map(|(dtype, bytes)| (dtype.to_owned(), bytes)).collect();
    sums.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    sums
}

/// f32 weights, their gradients and AdamW's two moments; activations depend on the recipe.
pub(super) const ADAMW_BYTES_PER_PARAMETER: u64 = 16;
