//! The tensors that a config asks for, in the published names: for a bare `config.json`.

use super::listing::Tensor;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// More layers or experts than any model has would only fill memory with names.
const MAX_COUNT: u64 = 1 << 12;
/// No size in a config is larger.
const MAX_SIZE: u64 = 1 << 24;
/// Layers times experts; DeepSeek-V3 has 15,616.
const MAX_EXPERTS: usize = 1 << 18;

/// Reads a config's numbers.
struct Keys<'a>(&'a Value);

impl Keys<'_> {
    fn opt(&self, key: &str) -> Result<Option<usize>> {
        match &self.0[key] {
            Value::Null => Ok(None),
            value => {
                let n = value.as_u64().filter(|&n| n <= MAX_SIZE);
                let n = n.with_context(|| format!("`{key}` is {value}, expected a whole number up to {MAX_SIZE}"))?;
                Ok(Some(n as usize))
            }
        }
    }

    fn get(&self, key: &str) -> Result<usize> {
        self.opt(key)?.with_context(|| format!("`{key}` is missing"))
    }

    fn count(&self, key: &str) -> Result<usize> {
        let n = self.get(key)?;
        ensure!(n as u64 <= MAX_COUNT, "`{key}` is {n}, more than {MAX_COUNT}");
        Ok(n)
    }

    fn flag(&self, key: &str, default: bool) -> bool {
        self.0[key].as_bool().unwrap_or(default)
    }
}

/// Collects tensors, all as f32.
#[derive(Default)]
struct Tensors(Vec<Tensor>);

impl Tensors {
    fn add(&mut self, name: String, shape: &[usize]) {
        let mut tensor = Tensor { name, shape: shape.to_vec(), dtype: "F32".into(), bytes: 0 };
        tensor.bytes = tensor.elements().saturating_mul(4);
        self.0.push(tensor);
    }

    fn linear(&mut self, name: String, out: usize, input: usize, bias: bool) {
        self.add(format!("{name}.weight"), &[out, input]);
        if bias {
            self.add(format!("{name}.bias"), &[out]);
        }
    }

    fn mlp(&mut self, name: &str, hidden: usize, inner: usize) {
        for (part, out, input) in [("gate", inner, hidden), ("up", inner, hidden), ("down", hidden, inner)] {
            self.linear(format!("{name}.{part}_proj"), out, input, false);
        }
    }
}

/// Every tensor of the network, in order.
pub(super) fn expected(config: &Value) -> Result<Vec<Tensor>> {
    let k = Keys(config);
    let kind = config["model_type"].as_str().context("`model_type` is missing")?;
    let (vocab, hidden, layers) = (k.get("vocab_size")?, k.get("hidden_size")?, k.count("num_hidden_layers")?);
    let mut t = Tensors::default();
    t.add("model.embed_tokens.weight".into(), &[vocab, hidden]);
    let deepseek = match kind {
        "deepseek_v2" | "deepseek_v3" => true,
        "qwen2" | "llama" => false,
        other => bail!("`model_type` is {other:?}; deepseek_v2, deepseek_v3, qwen2 and llama are known"),
    };
    let extra = if kind == "deepseek_v3" { k.opt("num_nextn_predict_layers")?.unwrap_or(0).min(layers) } else { 0 };
    for i in 0..layers + extra {
        let layer = format!("model.layers.{i}");
        if i >= layers {
            // A module of multi-token prediction: its own norms and projection around a block; embedding and head shared.
            t.add(format!("{layer}.enorm.weight"), &[hidden]);
            t.add(format!("{layer}.hnorm.weight"), &[hidden]);
            t.linear(format!("{layer}.eh_proj"), hidden, 2 * hidden, false);
            t.add(format!("{layer}.shared_head.norm.weight"), &[hidden]);
        }
        t.add(format!("{layer}.input_layernorm.weight"), &[hidden]);
        t.add(format!("{layer}.post_attention_layernorm.weight"), &[hidden]);
        if deepseek {
            mla(&k, &mut t, &layer, hidden)?;
            moe(&k, &mut t, &layer, hidden, i)?;
        } else {
            gqa(&k, &mut t, &layer, hidden, kind == "qwen2")?;
            t.mlp(&format!("{layer}.mlp"), hidden, k.get("intermediate_size")?);
        }
    }
    t.add("model.norm.weight".into(), &[hidden]);
    if !k.flag("tie_word_embeddings", false) {
        t.add("lm_head.weight".into(), &[vocab, hidden]);
    }
    Ok(t.0)
}

/// Grouped-query attention; Qwen2 has biases on q, k and v, Llama on all or none.
fn gqa(k: &Keys, t: &mut Tensors, layer: &str, hidden: usize, qwen: bool) -> Result<()> {
    let heads = k.get("num_attention_heads")?;
    ensure!(heads > 0, "`num_attention_heads` is 0");
    let kv_heads = k.opt("num_key_value_heads")?.unwrap_or(heads);
    let head = k.opt("head_dim")?.unwrap_or(hidden / heads);
    let all = !qwen && k.flag("attention_bias", false);
    for (part, out, input, bias) in [
        ("q", heads * head, hidden, qwen || all),
        ("k", kv_heads * head, hidden, qwen || all),
        ("v", kv_heads * head, hidden, qwen || all),
        ("o", hidden, heads * head, all),
    ] {
        t.linear(format!("{layer}.self_attn.{part}_proj"), out, input, bias);
    }
    Ok(())
}

/// Multi-head latent attention.
fn mla(k: &Keys, t: &mut Tensors, layer: &str, hidden: usize) -> Result<()> {
    let (heads, rank) = (k.get("num_attention_heads")?, k.get("kv_lora_rank")?);
    let (nope, rope, v) = (k.get("qk_nope_head_dim")?, k.get("qk_rope_head_dim")?, k.get("v_head_dim")?);
    let a = format!("{layer}.self_attn");
    match k.opt("q_lora_rank")? {
        Some(q_rank) => {
            t.linear(format!("{a}.q_a_proj"), q_rank, hidden, false);
            t.add(format!("{a}.q_a_layernorm.weight"), &[q_rank]);
            t.linear(format!("{a}.q_b_proj"), heads * (nope + rope), q_rank, false);
        }
        None => t.linear(format!("{a}.q_proj"), heads * (nope + rope), hidden, false),
    }
    t.linear(format!("{a}.kv_a_proj_with_mqa"), rank + rope, hidden, false);
    t.add(format!("{a}.kv_a_layernorm.weight"), &[rank]);
    t.linear(format!("{a}.kv_b_proj"), heads * (nope + v), rank, false);
    t.linear(format!("{a}.o_proj"), hidden, heads * v, false);
    Ok(())
}

/// DeepSeekMoE, or the dense MLP of the first layers.
fn moe(k: &Keys, t: &mut Tensors, layer: &str, hidden: usize, i: usize) -> Result<()> {
    let mlp = format!("{layer}.mlp");
    let frequency = k.opt("moe_layer_freq")?.unwrap_or(1).max(1);
    let dense = k.0["n_routed_experts"].is_null()
        || i < k.opt("first_k_dense_replace")?.unwrap_or(0)
        || !i.is_multiple_of(frequency);
    if dense {
        t.mlp(&mlp, hidden, k.get("intermediate_size")?);
        return Ok(());
    }
    let (experts, inner) = (k.count("n_routed_experts")?, k.get("moe_intermediate_size")?);
    let layers = k.count("num_hidden_layers")?;
    ensure!(layers * experts <= MAX_EXPERTS, "{layers} layers of {experts} experts are more than {MAX_EXPERTS}");
    t.add(format!("{mlp}.gate.weight"), &[experts, hidden]);
    if k.0["topk_method"] == "noaux_tc" || k.0["model_type"] == "deepseek_v3" {
        t.add(format!("{mlp}.gate.e_score_correction_bias"), &[experts]);
    }
    for e in 0..experts {
        t.mlp(&format!("{mlp}.experts.{e}"), hidden, inner);
    }
    let shared = k.opt("n_shared_experts")?.unwrap_or(0);
    if shared > 0 {
        t.mlp(&format!("{mlp}.shared_experts"), hidden, inner * shared);
    }
    Ok(())
}
