use super::*;
use serde_json::json;

fn published(value: Value) -> Config {
    Config::from_value("config.json", value).unwrap()
}

/// The published config.json of DeepSeek-V3, without its FP8 settings.
fn v3() -> Value {
    json!({
        "model_type": "deepseek_v3", "vocab_size": 129280, "hidden_size": 7168, "num_hidden_layers": 61,
        "first_k_dense_replace": 3, "moe_layer_freq": 1, "intermediate_size": 18432, "moe_intermediate_size": 2048,
        "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8, "n_group": 8, "topk_group": 4,
        "topk_method": "noaux_tc", "scoring_func": "sigmoid", "norm_topk_prob": true, "routed_scaling_factor": 2.5,
        "num_attention_heads": 128, "num_key_value_heads": 128, "q_lora_rank": 1536, "kv_lora_rank": 512,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "hidden_act": "silu",
        "attention_bias": false, "rms_norm_eps": 1e-6, "rope_theta": 10000,
        "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "beta_fast": 32,
            "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0},
        "max_position_embeddings": 163840, "num_nextn_predict_layers": 1, "tie_word_embeddings": false,
        "initializer_range": 0.02
    })
}

fn set(mut value: Value, changes: Value) -> Value {
    for (k, v) in changes.as_object().unwrap() {
        value[k] = v.clone();
    }
    value
}

fn v2_lite() -> Value {
    let changes = json!({
        "model_type": "deepseek_v2", "vocab_size": 102400, "hidden_size": 2048, "num_hidden_layers": 27,
        "first_k_dense_replace": 1, "intermediate_size": 10944, "moe_intermediate_size": 1408, "n_routed_experts": 64,
        "n_shared_experts": 2, "num_experts_per_tok": 6, "n_group": 1, "topk_group": 1, "topk_method": "greedy",
        "scoring_func": "softmax", "norm_topk_prob": false, "routed_scaling_factor": 1.0, "num_attention_heads": 16,
        "q_lora_rank": null, "num_nextn_predict_layers": 0
    });
    let mut value = set(v3(), changes);
    value["rope_scaling"]["mscale"] = json!(0.707);
    value["rope_scaling"]["mscale_all_dim"] = json!(0.707);
    value
}

fn moonlight() -> Value {
    let changes = json!({
        "model_type": "deepseek_v3", "vocab_size": 163840, "intermediate_size": 11264, "topk_method": "noaux_tc",
        "scoring_func": "sigmoid", "norm_topk_prob": true, "routed_scaling_factor": 2.446, "rms_norm_eps": 1e-5,
        "rope_theta": 50000, "rope_scaling": null, "max_position_embeddings": 8192
    });
    set(v2_lite(), changes)
}

/// spec §1.1.
#[test]
fn parameters_of_the_published_models() {
    let c = published(v3()).counts();
    assert_eq!(c.total, 671_026_404_352);
    assert_eq!(c.attention, 187_107_328);
    assert_eq!(c.moe, 11_320_164_352);
    assert_eq!(c.mtp, 11_610_067_968);
    assert_eq!(2 * c.embedding, 1_853_358_080);
    assert_eq!(c.active / 10_000_000, 3_755, "37.55 B");
    let c = published(v2_lite()).counts();
    assert_eq!((c.total, c.attention, c.moe), (15_706_484_224, 13_763_072, 571_080_704));
    assert_eq!(c.active / 10_000_000, 266, "2.66 B");
    let c = published(moonlight()).counts();
    assert_eq!((c.total, c.attention, c.moe), (15_960_108_544, 13_763_072, 571_080_704));
    assert_eq!(c.active / 10_000_000, 291, "2.91 B");
    // Qwen2.5-0.5B: 494,032,768 with the tied embedding; Llama-3.2-1B: 1,235,814,400.
    let qwen = json!({
        "model_type": "qwen2", "vocab_size": 151936, "hidden_size": 896, "intermediate_size": 4864,
        "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "rms_norm_eps": 1e-6,
        "rope_theta": 1e6, "max_position_embeddings": 32768, "tie_word_embeddings": true
    });
    assert_eq!(published(qwen).counts().total, 494_032_768);
    let llama = json!({
        "model_type": "llama", "vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192,
        "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64,
        "rms_norm_eps": 1e-5, "rope_theta": 5e5, "max_position_embeddings": 131072, "tie_word_embeddings": true
    });
    assert_eq!(published(llama).counts().total, 1_235_814_400);
}

/// spec §1.4.
#[test]
fn softmax_scales_of_the_published_models() {
    for (config, scale) in [(v3(), 0.1352337789), (v2_lite(), 0.1147213868), (moonlight(), 0.0721687836)] {
        let config = published(config);
        assert!((config.softmax_scale() - scale as f32).abs() < 1e-8, "{}", config.softmax_scale());
        assert_eq!(config.rope_scaling.magnitude(), 1.0);
    }
    assert!((published(v3()).rope_frequencies()[15] / 8.334508951e-3 - 1.0).abs() < 1e-8);
}

/// Model cards: Qwen3-8B 8.2 B, Qwen3-30B-A3B 30.5 B and 3.3 B active, Kimi-K2 1 T and 32 B active.
#[test]
fn parameters_of_qwen3_and_kimi() {
    let dense = json!({
        "model_type": "qwen3", "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 12288,
        "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
        "rms_norm_eps": 1e-6, "rope_theta": 1e6, "max_position_embeddings": 40960, "tie_word_embeddings": false
    });
    assert_eq!(published(dense.clone()).counts().total, 8_190_735_360);
    let changes = json!({
        "model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144, "moe_intermediate_size": 768,
        "num_hidden_layers": 48, "num_key_value_heads": 4, "num_experts": 128, "num_experts_per_tok": 8,
        "norm_topk_prob": true, "decoder_sparse_step": 1, "mlp_only_layers": []
    });
    let c = published(set(dense, changes)).counts();
    assert_eq!((c.total, c.active), (30_532_122_624, 3_353_032_704));
    let kimi = json!({
        "model_type": "kimi_k2", "vocab_size": 163840, "n_routed_experts": 384, "num_attention_heads": 64,
        "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1, "routed_scaling_factor": 2.827,
        "num_nextn_predict_layers": 0
    });
    let c = published(set(v3(), kimi)).counts();
    assert_eq!((c.total / 1_000_000_000, c.active / 1_000_000_000), (1026, 32));
}

/// Model card: granite-3.3-2b-instruct 2.53 B.
#[test]
fn parameters_and_factors_of_granite() {
    let granite = json!({
        "model_type": "granite", "vocab_size": 49159, "hidden_size": 2048, "intermediate_size": 8192,
        "num_hidden_layers": 40, "num_attention_heads": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-5,
        "rope_theta": 1e7, "max_position_embeddings": 131072, "tie_word_embeddings": true,
        "embedding_multiplier": 12.0, "attention_multiplier": 0.015625, "residual_multiplier": 0.22,
        "logits_scaling": 8.0
    });
    let config = published(granite.clone());
    assert_eq!(config.counts().total / 10_000_000, 253);
    assert_eq!((config.softmax_scale(), config.multipliers().logits_scaling), (1.0 / 64.0, 8.0));
    assert!((config.residual_eps() / (1e-5 / 0.22 / 0.22) - 1.0).abs() < 1e-6);
    let zero = set(granite, json!({"residual_multiplier": 0.0}));
    let error = Config::from_value("config.json", zero).unwrap_err().to_string();
    assert!(error.contains("residual_multiplier") && error.contains("positive"), "{error}");
}

/// The list is searched for every layer: a layer repeated a million times is stored once.
#[test]
fn a_long_list_of_layers_is_kept_short() {
    let config = json!({
        "model_type": "qwen3_moe", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "head_dim": 8,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-6,
        "moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2, "max_position_embeddings": 64,
        "mlp_only_layers": vec![3; 1_000_000]
    });
    let Arch::Grouped(g) = published(config).arch else { panic!("no experts") };
    assert_eq!(g.sparse.unwrap().mlp_only_layers, [3]);
}

#[test]
fn counts_are_those_of_the_declared_tensors() {
    let small = json!({
        "vocab_size": 50, "hidden_size": 24, "intermediate_size": 40, "moe_intermediate_size": 8,
        "num_hidden_layers": 4, "num_attention_heads": 2, "n_routed_experts": 8, "num_experts_per_tok": 3,
        "kv_lora_rank": 16, "qk_nope_head_dim": 6, "qk_rope_head_dim": 4, "v_head_dim": 5, "max_position_embeddings": 64
    });
    for (base, q) in [(v3(), json!(12)), (v3(), Value::Null), (v2_lite(), json!(12)), (moonlight(), Value::Null)] {
        let mut changes = small.clone();
        changes["q_lora_rank"] = q;
        let config = published(set(base, changes));
        let (_, layout) = crate::Network::declare(&config);
        let counted = layout.iter().filter(|(_, i)| !i.name.ends_with("e_score_correction_bias"));
        let declared: usize = counted.map(|(_, i)| i.len()).sum();
        assert_eq!(declared as u64, config.counts().stored());
        assert!(layout.iter().count() as u64 <= config.tensor_count());
        assert_eq!(layout.iter().filter(|(_, i)| !i.trainable).count() > 0, config.model_type == ModelType::DeepseekV3);
    }
    let kinds = [
        ("qwen2", json!(null)),
        ("llama", json!(true)),
        ("llama", json!(false)),
        ("qwen3", json!(true)),
        ("qwen3_moe", json!(false)),
    ];
    for (model_type, bias) in kinds {
        let config = json!({
            "model_type": model_type, "attention_bias": bias, "vocab_size": 50, "hidden_size": 24,
            "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
            "head_dim": 10, "rms_norm_eps": 1e-6, "max_position_embeddings": 64, "num_experts": 4,
            "num_experts_per_tok": 2, "moe_intermediate_size": 12, "decoder_sparse_step": 2
        });
        let config = published(config);
        assert_eq!(crate::Network::declare(&config).1.count() as u64, config.counts().total);
    }
}

fn refused(value: Value, key: &str, says: &str) {
    let error = Config::from_value("dir/config.json", value).unwrap_err().to_string();
    assert!(error.contains("dir/config.json") && error.contains(&format!("`{key}`")), "{error}");
    assert!(error.contains(says), "{error}");
}

#[test]
fn errors_name_file_key_and_fix() {
    refused(
        set(v3(), json!({"model_type": "gpt2"})),
        "model_type",
        "deepseek_v2, deepseek_v3, granite, kimi_k2, llama, qwen2, qwen3, qwen3_moe",
    );
    refused(json!([1]), "model_type", "not a JSON object");
    for key in ["model_type", "vocab_size", "hidden_size", "kv_lora_rank", "n_routed_experts", "rms_norm_eps"] {
        refused(set(v3(), json!({key: null})), key, "is missing");
    }
    refused(set(v3(), json!({"hidden_size": -3})), "hidden_size", "-3");
    refused(set(v3(), json!({"hidden_size": 7168.5})), "hidden_size", "a whole number");
    refused(set(v3(), json!({"vocab_size": "many"})), "vocab_size", "\"many\"");
    refused(set(v3(), json!({"tie_word_embeddings": 1})), "tie_word_embeddings", "true or false");
    refused(set(v3(), json!({"n_group": 7})), "n_group", "does not divide n_routed_experts 256");
    refused(set(v3(), json!({"topk_group": 9})), "topk_group", "above n_group 8");
    refused(set(v3(), json!({"topk_group": 1, "num_experts_per_tok": 33})), "num_experts_per_tok", "32 experts");
    refused(set(v3(), json!({"first_k_dense_replace": 62})), "first_k_dense_replace", "61");
    refused(set(v3(), json!({"qk_rope_head_dim": 63})), "qk_rope_head_dim", "even");
    refused(set(v3(), json!({"hidden_act": "gelu"})), "hidden_act", "silu");
    let quantized =
        |changes: Value| set(v3(), json!({"quantization_config": set(json!({"quant_method": "fp8"}), changes)}));
    let fp8 = published(quantized(json!({"fmt": "e4m3", "scale_fmt": "ue8m0", "weight_block_size": [128, 128]})));
    assert_eq!(fp8.quantization, Some(Fp8 { weight_block_size: [128, 128] }));
    refused(quantized(json!({"quant_method": "gptq"})), "quantization_config.quant_method", "bf16");
    refused(quantized(json!({"fmt": "e5m2"})), "quantization_config.fmt", "e4m3");
    refused(quantized(json!({"weight_block_size": [128]})), "quantization_config.weight_block_size", "two sizes");
    refused(quantized(json!({"weight_block_size": [0, 128]})), "quantization_config.weight_block_size", "two sizes");
    refused(set(v3(), json!({"quantization_config": 8})), "quantization_config", "an object");
    refused(set(v3(), json!({"scoring_func": "tanh"})), "scoring_func", "sigmoid, softmax");
    refused(set(v3(), json!({"rope_scaling": {"type": "dynamic", "factor": 2}})), "rope_scaling.type", "yarn");
    refused(set(v3(), json!({"rope_scaling": {"type": "yarn"}})), "rope_scaling.factor", "is missing");
    refused(set(v3(), json!({"rope_scaling": 3})), "rope_scaling", "an object");
    refused(set(v3(), json!({"rope_theta": 1})), "rope_theta", "above 1");
}

/// Numbers that are within their individual bounds, but together would require more memory than there is.
#[test]
fn forged_sizes_are_refused_before_anything_is_allocated() {
    let huge = json!({"num_hidden_layers": 1024, "n_routed_experts": 4096, "n_group": 1, "topk_group": 1});
    refused(set(v3(), huge), "num_hidden_layers", "more than any model has");
    refused(set(v3(), json!({"vocab_size": 1u64 << 40})), "vocab_size", "from 1 to");
    refused(set(v3(), json!({"max_position_embeddings": 1 << 24})), "max_position_embeddings", "beyond");
    let config = published(set(v3(), json!({"num_nextn_predict_layers": 0})));
    let error = crate::Model::random(config, 0).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("2499.") && error.contains("GiB"), "{error}");
}

/// R1-0528-Qwen3-8B: factor 4 gives 0.1 ln 4 + 1 = 1.1386, and its attn_factor is the inverse of that.
#[test]
fn attn_factor_multiplies_yarns_magnitude() {
    let scaling = json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768,
        "attn_factor": 0.8782488562869419});
    let config = published(set(v3(), json!({"rope_scaling": scaling})));
    assert!((config.rope_scaling.magnitude() - 1.0).abs() < 1e-9);
}

#[test]
fn transformers_5_writes_rope_parameters() {
    let mut old = v3();
    let mut new = v3();
    let map = new.as_object_mut().unwrap();
    let mut parameters = map.remove("rope_scaling").unwrap();
    map.remove("rope_theta");
    parameters["rope_theta"] = json!(5e5);
    parameters["rope_type"] = json!("yarn");
    new["rope_parameters"] = parameters;
    old["rope_theta"] = json!(5e5);
    let (old, new) = (published(old), published(new));
    assert_eq!((old.rope_theta, old.rope_scaling), (new.rope_theta, new.rope_scaling));
    assert_ne!(new.rope_scaling, RopeScaling::None);
}

#[test]
fn with_checks_again_and_keeps_unknown_keys() {
    let config = published(set(v3(), json!({"ep_size": 1})));
    let smaller = config.with("num_hidden_layers", 4).unwrap();
    assert_eq!(smaller.num_hidden_layers, 4);
    assert_eq!(smaller.to_value()["ep_size"], json!(1));
    assert!(config.with("num_hidden_layers", 0).is_err());
}

proptest::proptest! {
    /// Any config is read or rejected, and any config that is read can be declared.
    #[test]
    fn any_numbers(keys in proptest::collection::vec((0usize..22, 0u64..5000), 0..6), kind in 0usize..3) {
        let names = ["vocab_size", "hidden_size", "num_hidden_layers", "first_k_dense_replace", "intermediate_size",
            "moe_intermediate_size", "n_routed_experts", "n_shared_experts", "num_experts_per_tok", "n_group",
            "topk_group", "num_attention_heads", "num_key_value_heads", "q_lora_rank", "kv_lora_rank",
            "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "head_dim", "num_nextn_predict_layers", "num_experts",
            "decoder_sparse_step"];
        let mut value = set(v3(), json!({"num_hidden_layers": 2, "first_k_dense_replace": 1}));
        value["model_type"] = json!(["deepseek_v3", "llama", "qwen3_moe"][kind]);
        value["num_experts"] = json!(16);
        for (key, n) in keys {
            value[names[key]] = json!(n);
        }
        if let Ok(config) = Config::from_value("c", value) {
            let (_, layout) = crate::Network::declare(&config);
            proptest::prop_assert!(layout.count() > 0);
        }
    }
}
