//! Converts a GGUF file's metadata to the equivalent `config.json`.

use super::names::GRANITE;
use super::{Error, Gguf};
use serde_json::{Map, Value, json};

/// Reads one architecture's keys into Hugging Face's keys.
struct MetadataKeys<'a> {
    file: &'a Gguf,
    arch: &'a str,
    out: Map<String, Value>,
}

impl MetadataKeys<'_> {
    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.arch)
    }

    fn u64(&self, key: &str) -> Result<u64, Error> {
        self.file.u64(&self.name(key))
    }

    fn opt_u64(&self, key: &str) -> Result<Option<u64>, Error> {
        self.file.opt_u64(&self.name(key))
    }

    fn opt_f64(&self, key: &str) -> Result<Option<f64>, Error> {
        self.file.opt_f64(&self.name(key))
    }

    fn set(&mut self, hf: &str, value: impl Into<Value>) {
        self.out.insert(hf.to_owned(), value.into());
    }

    /// Copies a required number.
    fn copy(&mut self, hf: &str, key: &str) -> Result<(), Error> {
        let value = self.u64(key)?;
        self.set(hf, value);
        Ok(())
    }

    /// Copies a number if it is present.
    fn copy_opt(&mut self, hf: &str, key: &str) -> Result<(), Error> {
        if let Some(value) = self.opt_u64(key)? {
            self.set(hf, value);
        }
        Ok(())
    }

    fn wrong(&self, key: &str, what: String) -> Error {
        self.file.key(&self.name(key), what)
    }
}

/// The supported architectures.
const SUPPORTED: [&str; 6] = ["deepseek2", "granite", "llama", "qwen2", "qwen3", "qwen3moe"];

/// Rejects GGUF files that are not complete language models.
fn check_kind(file: &Gguf) -> Result<(), Error> {
    let kind = file.opt_str("general.type")?.unwrap_or_default();
    let arch = file.opt_str("general.architecture")?.unwrap_or_default();
    let projector = arch == "clip" || file.get("clip.has_vision_encoder").is_some();
    let what = match kind {
        "adapter" => {
            "is a LoRA adapter in GGUF, which changes a model but is not one itself; merge the adapter that PEFT saved \
             (a directory with adapter_config.json) with `meno convert BASE OUT --lora DIR` and use OUT"
        }
        "mmproj" | "projector" => PROJECTOR,
        _ if projector => PROJECTOR,
        "imatrix" => "is an importance matrix, which guides quantization, not a model; name the GGUF file of the model",
        _ if arch == "controlvector" || kind == "controlvector" => {
            "is a control vector, which steers a model but is not one itself; name the GGUF file of the model"
        }
        _ if file.tensors().is_empty() && file.get("split.count").is_none() => {
            "holds a vocabulary without weights; name the GGUF file of a whole model"
        }
        _ => return Ok(()),
    };
    Err(Error::Kind { path: file.path.clone(), what })
}

/// The error for an mmproj file.
const PROJECTOR: &str = "is a multimodal projector (mmproj), which turns images or sound into a model's input, not a \
                         language model; name the GGUF file of the model itself";

pub(super) fn from_metadata(file: &Gguf) -> Result<Value, Error> {
    check_kind(file)?;
    let arch = file.architecture()?;
    let mut k = MetadataKeys { file, arch, out: Map::new() };
    match arch {
        "qwen2" => {
            k.set("model_type", "qwen2");
            k.set("architectures", json!(["Qwen2ForCausalLM"]));
            dense(&mut k)?;
        }
        "llama" => {
            k.set("model_type", "llama");
            k.set("architectures", json!(["LlamaForCausalLM"]));
            if k.opt_u64("expert_count")?.unwrap_or(0) > 0 {
                return Err(k.wrong("expert_count", "is above 0: Mixtral-like models are not supported".into()));
            }
            dense(&mut k)?;
            llama3_rope(&mut k)?;
        }
        "granite" => {
            k.set("model_type", "granite");
            k.set("architectures", json!(["GraniteForCausalLM"]));
            dense(&mut k)?;
            granite(&mut k)?;
        }
        "qwen3" => {
            k.set("model_type", "qwen3");
            k.set("architectures", json!(["Qwen3ForCausalLM"]));
            dense(&mut k)?;
        }
        "qwen3moe" => qwen3_moe(&mut k)?,
        "deepseek2" => deepseek2(&mut k)?,
        other => {
            let architecture = other.to_owned();
            return Err(Error::Architecture { path: file.path.clone(), architecture, supported: &SUPPORTED });
        }
    }
    Ok(Value::Object(k.out))
}

/// Reads the keys shared by all architectures.
fn common(k: &mut MetadataKeys) -> Result<(), Error> {
    k.copy("num_hidden_layers", "block_count")?;
    k.copy("hidden_size", "embedding_length")?;
    k.copy("intermediate_size", "feed_forward_length")?;
    k.copy("num_attention_heads", "attention.head_count")?;
    k.copy("max_position_embeddings", "context_length")?;
    let eps = k.opt_f64("attention.layer_norm_rms_epsilon")?;
    k.set("rms_norm_eps", eps.ok_or_else(|| k.file.missing(&k.name("attention.layer_norm_rms_epsilon")))?);
    k.set("rope_theta", k.opt_f64("rope.freq_base")?.unwrap_or(10_000.0));
    k.set("hidden_act", "silu");
    k.set("tie_word_embeddings", k.file.info("output.weight").is_none());

    // The vocabulary size is the number of rows of the embedding; the optional key is ignored.
    let [vocab, width] = k.file.shape("model.embed_tokens.weight")?[..] else {
        return Err(k.file.tensor("model.embed_tokens.weight", "must have two dimensions".into()));
    };
    if k.u64("embedding_length")? != width as u64 {
        return Err(k.wrong("embedding_length", format!("contradicts token_embd.weight, which is {width} wide")));
    }
    k.set("vocab_size", vocab);
    for (hf, key) in [("bos_token_id", "tokenizer.ggml.bos_token_id"), ("eos_token_id", "tokenizer.ggml.eos_token_id")]
    {
        if let Some(id) = k.file.opt_u64(key)? {
            k.set(hf, id);
        }
    }
    Ok(())
}

/// Reads grouped-query attention, as in qwen2, qwen3 and llama.
fn dense(k: &mut MetadataKeys) -> Result<(), Error> {
    common(k)?;
    let heads = k.u64("attention.head_count")?;
    k.set("num_key_value_heads", k.opt_u64("attention.head_count_kv")?.unwrap_or(heads));
    k.copy_opt("head_dim", "attention.key_length")?;
    whole_heads(k, heads)?;
    let bias = k.file.info("blk.0.attn_q.bias").is_some();
    k.set("attention_bias", bias);
    k.set("mlp_bias", k.file.info("blk.0.ffn_down.bias").is_some());
    rope_scaling(k)
}

/// Reads Granite's factors. An absent factor of the scores is head_dim^-1/2 in llama.cpp, but 1 in transformers.
fn granite(k: &mut MetadataKeys) -> Result<(), Error> {
    let head = match k.opt_u64("attention.key_length")? {
        Some(length) => length as f64,
        None => k.u64("embedding_length")? as f64 / k.u64("attention.head_count")? as f64,
    };
    k.set("attention_multiplier", head.powf(-0.5));
    for (hf, key) in GRANITE {
        if let Some(factor) = k.opt_f64(key)?.filter(|&factor| factor != 0.0) {
            k.set(hf, factor);
        }
    }
    Ok(())
}

/// Requires keys and values as wide as queries, rotated over their whole width: other shapes are not supported.
fn whole_heads(k: &MetadataKeys, heads: u64) -> Result<(), Error> {
    let head = match k.opt_u64("attention.key_length")? {
        Some(length) => length,
        None => k.u64("embedding_length")?.checked_div(heads).unwrap_or(0),
    };
    for key in ["rope.dimension_count", "attention.value_length"] {
        if let Some(found) = k.opt_u64(key)?.filter(|found| *found != head) {
            let what = format!(
                "is {found}, but a head is {head} wide: heads that are rotated only in part, or of two widths, are not \
                 supported"
            );
            return Err(k.wrong(key, what));
        }
    }
    Ok(())
}

/// Reads Qwen 3 with experts: in all layers, with normalized weights, as in llama.cpp.
fn qwen3_moe(k: &mut MetadataKeys) -> Result<(), Error> {
    k.set("model_type", "qwen3_moe");
    k.set("architectures", json!(["Qwen3MoeForCausalLM"]));
    dense(k)?;
    k.copy("num_experts", "expert_count")?;
    k.copy("num_experts_per_tok", "expert_used_count")?;
    k.copy("moe_intermediate_size", "expert_feed_forward_length")?;
    k.set("norm_topk_prob", true);
    k.set("decoder_sparse_step", 1);
    k.set("mlp_only_layers", json!([]));
    Ok(())
}

/// Reads `rope_scaling` from the metadata's linear or YaRN keys.
fn rope_scaling(k: &mut MetadataKeys) -> Result<(), Error> {
    let Some(kind) = k.file.opt_str(&k.name("rope.scaling.type"))? else { return Ok(()) };
    let factor = k.opt_f64("rope.scaling.factor")?;
    let factor = factor.ok_or_else(|| k.file.missing(&k.name("rope.scaling.factor")));
    match kind {
        "none" => {}
        "linear" => k.set("rope_scaling", json!({"type": "linear", "rope_type": "linear", "factor": factor?})),
        "yarn" => {
            let mut scaling = json!({
                "type": "yarn",
                "rope_type": "yarn",
                "factor": factor?,
                "original_max_position_embeddings": k.u64("rope.scaling.original_context_length")?,
                "beta_fast": k.opt_f64("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
                "beta_slow": k.opt_f64("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
            });
            // It multiplies YaRN's own magnitude.
            if let Some(factor) = k.opt_f64("rope.scaling.attn_factor")? {
                scaling["attn_factor"] = factor.into();
            }
            // Stored as 0.1 · mscale_all_dim; every published DeepSeek model has mscale == mscale_all_dim.
            if let Some(log_mul) = k.opt_f64("rope.scaling.yarn_log_multiplier")? {
                let mscale = (log_mul * 10.0 * 1e6).round() / 1e6;
                scaling["mscale"] = mscale.into();
                scaling["mscale_all_dim"] = mscale.into();
            }
            k.set("rope_scaling", scaling);
        }
        other => return Err(k.wrong("rope.scaling.type", format!("is {other:?}; supported are none, linear and yarn"))),
    }
    Ok(())
}

/// Llama 3.1's rope scaling is stored only as its result: one factor per frequency in `rope_freqs.weight`. The
/// published models share `low_freq_factor` 1, `high_freq_factor` 4 and 8192 positions (another number of positions may
/// be in `rope.scaling.original_context_length`, which files written here contain); the factor is the largest value.
/// The file's factors must match these parameters; otherwise the model would be run incorrectly.
fn llama3_rope(k: &mut MetadataKeys) -> Result<(), Error> {
    let Some(info) = k.file.info("rope_freqs.weight") else { return Ok(()) };
    let (low, high) = (1.0, 4.0);
    let original = k.opt_u64("rope.scaling.original_context_length")?.unwrap_or(8192) as f64;
    let mut stored = vec![0.0f32; info.elements];
    meno_tensor::quant::dequant::dequantize(info.dtype, k.file.data(info), &mut stored);
    let factor = stored.iter().fold(1.0f32, |a, &b| a.max(b)) as f64;
    let theta = k.opt_f64("rope.freq_base")?.unwrap_or(10_000.0);
    let n = stored.len();
    let expected = (0..n).map(|i| {
        let wavelength = 2.0 * std::f64::consts::PI * theta.powf(i as f64 / n as f64);
        if wavelength < original / high {
            1.0
        } else if wavelength > original / low {
            factor
        } else {
            let smooth = (original / wavelength - low) / (high - low);
            1.0 / ((1.0 - smooth) / factor + smooth)
        }
    });
    // NaN is rejected too.
    let close = |s: f32, e: f64| (s as f64 - e).abs() <= 1e-3 * e;
    if !stored.iter().zip(expected).all(|(&s, e)| close(s, e)) {
        return Err(k.file.tensor("rope_freqs.weight", "is not Llama 3's rope scaling, the only one supported".into()));
    }
    k.set(
        "rope_scaling",
        json!({"rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
               "original_max_position_embeddings": original as u64}),
    );
    Ok(())
}

/// Reads DeepSeek V2, V3 and R1.
fn deepseek2(k: &mut MetadataKeys) -> Result<(), Error> {
    common(k)?;
    let heads = k.u64("attention.head_count")?;
    // Newer files store 1 here, because the latent is the one key that all heads share.
    k.set("num_key_value_heads", heads);
    k.copy("kv_lora_rank", "attention.kv_lora_rank")?;
    match k.opt_u64("attention.q_lora_rank")? {
        Some(rank) if rank > 0 => k.set("q_lora_rank", rank),
        _ => k.set("q_lora_rank", Value::Null),
    }
    let rope = k.u64("rope.dimension_count")?;
    // key_length and value_length are per head in older files; in newer ones they describe the latent.
    let (key_name, value_name) = match k.opt_u64("attention.key_length_mla")? {
        Some(_) => ("attention.key_length_mla", "attention.value_length_mla"),
        None => ("attention.key_length", "attention.value_length"),
    };
    let key = k.u64(key_name)?;
    let nope = key.checked_sub(rope);
    let nope = nope.ok_or_else(|| k.wrong(key_name, format!("is {key}, below rope.dimension_count = {rope}")))?;
    k.set("qk_nope_head_dim", nope);
    k.set("qk_rope_head_dim", rope);
    k.copy("v_head_dim", value_name)?;
    k.set("attention_bias", false);
    k.copy("first_k_dense_replace", "leading_dense_block_count")?;
    k.set("moe_layer_freq", 1);
    k.copy("moe_intermediate_size", "expert_feed_forward_length")?;
    k.copy("n_routed_experts", "expert_count")?;
    k.set("n_shared_experts", k.opt_u64("expert_shared_count")?.unwrap_or(0));
    k.copy("num_experts_per_tok", "expert_used_count")?;
    k.set("routed_scaling_factor", k.opt_f64("expert_weights_scale")?.unwrap_or(1.0));
    let norm = k.file.opt_bool(&k.name("expert_weights_norm"))?.unwrap_or(false);
    k.set("norm_topk_prob", norm);
    k.set("num_nextn_predict_layers", 0);
    gate(k)?;
    rope_scaling(k)
}

/// Reads the router: V3's (sigmoid, with a selection bias) or V2's (softmax).
fn gate(k: &mut MetadataKeys) -> Result<(), Error> {
    let biased = k.file.tensors().iter().any(|t| t.name.ends_with(".exp_probs_b.bias"));
    let groups = k.opt_u64("expert_group_count")?.unwrap_or(1).max(1);
    let used = k.opt_u64("expert_group_used_count")?.unwrap_or(1).max(1);
    // Files older than V3 have no gating function: softmax. 1 is softmax, 2 sigmoid (llama.cpp's enum).
    let sigmoid = match k.opt_u64("expert_gating_func")? {
        None | Some(0) => biased,
        Some(1) => false,
        Some(2) => true,
        Some(n) => {
            return Err(k.wrong("expert_gating_func", format!("is {n}; supported are 1 (softmax) and 2 (sigmoid)")));
        }
    };
    let (model_type, architecture) = match sigmoid {
        true => ("deepseek_v3", "DeepseekV3ForCausalLM"),
        false => ("deepseek_v2", "DeepseekV2ForCausalLM"),
    };
    k.set("model_type", model_type);
    k.set("architectures", json!([architecture]));
    k.set("scoring_func", if sigmoid { "sigmoid" } else { "softmax" });
    let method = match (biased, groups > 1) {
        (true, _) => "noaux_tc",
        (false, true) => "group_limited_greedy",
        (false, false) => "greedy",
    };
    k.set("topk_method", method);
    k.set("n_group", groups);
    k.set("topk_group", used);
    Ok(())
}
