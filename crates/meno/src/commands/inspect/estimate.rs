//! Estimates the memory of a network of this shape and the generation speed that memory bandwidth allows:
//! computed, not measured.

use super::listing::Listing;
use meno_model::gguf::{FileType, GgmlType, Planned};
use meno_model::{Config, convert};
use serde_json::{Value, json};
use std::fmt::Write;

/// The types that the table shows, one per size.
const SHOWN: [&str; 9] = ["f32", "bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "iq4_xs", "q3_k_m", "q2_k"];

/// Weights of one type.
pub(super) struct Estimate {
    pub(super) name: String,
    pub(super) bytes: u64,
    /// Bytes that the processor reads for one token of one sequence: all weights except the routed experts
    /// that the token does not use, and only one row of the embedding.
    pub(super) read: u64,
}

impl Estimate {
    /// Tokens per second of one sequence, if reading the weights were the only cost.
    pub(super) fn tokens_per_s(&self, bandwidth: f64) -> f64 {
        bandwidth * 1e9 / self.read.max(1) as f64
    }
}

/// One estimate per type, including the published FP8 format and the stored types.
pub(super) fn all(listing: &Listing) -> Vec<Estimate> {
    let Some(config) = &listing.config else { return Vec::new() };
    let mut all = Vec::new();
    if !listing.computed {
        let tensors = listing.tensors.iter().map(|t| (t.name.as_str(), t.bytes));
        all.push(estimate(config, "as stored".into(), tensors));
    }
    for name in SHOWN {
        let file_type = FileType::parse(name).expect("invariant: the shown types are known");
        // GGUF cannot express this shape, so there is no such file.
        let Ok(plan) = convert::plan(config, file_type) else { continue };
        all.push(estimate(config, name.into(), plan.iter().map(|t| (t.name.as_str(), t.bytes() as u64))));
        if name == "bf16" && config.quantization.is_some() {
            all.push(estimate(config, "fp8".into(), plan.iter().map(|t| (t.name.as_str(), fp8(t)))));
        }
    }
    all
}

/// Bytes of a tensor in a checkpoint whose linear layers are FP8 with one f32 scale factor per 128×128 block.
fn fp8(t: &Planned) -> u64 {
    let elements: u64 = t.shape.iter().map(|&d| d as u64).product();
    let outside = ["token_embd.weight", "output.weight"].contains(&t.name.as_str());
    match t.dtype {
        GgmlType::Bf16 if outside => 2 * elements,
        GgmlType::Bf16 => elements + elements.div_ceil(128 * 128) * 4,
        _ => 4 * elements,
    }
}

fn estimate<'a>(config: &Config, name: String, tensors: impl Iterator<Item = (&'a str, u64)>) -> Estimate {
    let (mut bytes, mut read) = (0u64, 0u64);
    for (name, n) in tensors {
        let embedding = ["token_embd.weight", "model.embed_tokens.weight"].contains(&name);
        let expert = name.contains("_exps.") || name.contains(".mlp.experts.");
        bytes = bytes.saturating_add(n);
        read = read.saturating_add(match config.moe() {
            _ if embedding && !config.tie_word_embeddings => n / config.vocab_size as u64,
            Some(m) if expert => {
                (n as u128 * m.gate.num_experts_per_tok as u128 / m.gate.n_routed_experts as u128) as u64
            }
            _ => n,
        });
    }
    Estimate { name, bytes, read }
}

/// The estimates as JSON.
pub(super) fn json(estimates: &[Estimate], bandwidth: Option<f64>) -> Value {
    let one = |e: &Estimate| {
        json!({"type": e.name, "weights_bytes": e.bytes, "read_per_token_bytes": e.read,
               "tokens_per_s": bandwidth.map(|b| e.tokens_per_s(b))})
    };
    json!({"bandwidth_gb_per_s": bandwidth, "types": estimates.iter().map(one).collect::<Vec<_>>()})
}

/// The estimates as readable text.
pub(super) fn text(
    out: &mut String,
    estimates: &[Estimate],
    bandwidth: Option<f64>,
    size: fn(u64) -> String,
) -> std::fmt::Result {
    let at = bandwidth.map_or(String::new(), |b| format!(" at {b} GB/s"));
    writeln!(out, "\nComputed, not measured{at}")?;
    let head = if bandwidth.is_some() { "tokens/s at most" } else { "" };
    writeln!(out, "{}", format!("  {:<10} {:>12} {:>18}  {head}", "type", "weights", "read for a token").trim_end())?;
    for e in estimates {
        let speed = bandwidth.map_or(String::new(), |b| format!("{:>16.1}", e.tokens_per_s(b)));
        let line = format!("  {:<10} {:>12} {:>18}  {speed}", e.name, size(e.bytes), size(e.read));
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two layers with 4 experts, of which 1 is used: a token reads 1 MiB of 4 MiB of experts, and one row of
    /// an embedding with 1024 rows.
    #[test]
    fn experts_and_embedding_count_as_they_are_read() {
        let config = Config::from_value(
            "c",
            json!({"model_type": "qwen3_moe", "vocab_size": 1024, "hidden_size": 64, "intermediate_size": 64,
                "moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 1, "num_hidden_layers": 2,
                "num_attention_heads": 2, "head_dim": 32, "rms_norm_eps": 1e-6, "max_position_embeddings": 64}),
        )
        .unwrap();
        let tensors = [("token_embd.weight", 1024 * 128), ("blk.0.ffn_up_exps.weight", 4 << 20), ("output.weight", 77)];
        let e = estimate(&config, "x".into(), tensors.into_iter());
        assert_eq!((e.bytes, e.read), (1024 * 128 + (4 << 20) + 77, 128 + (1 << 20) + 77));
        assert!((Estimate { read: 500_000_000, ..e }.tokens_per_s(10.0) - 20.0).abs() < 1e-9);
    }
}
