//! The GGUF reader against the `gguf` Python package, bit for bit (files by `dev/reference/gguf_dequant.py`), and
//! against files with false contents.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use meno_model::gguf::{Gguf, Value, hf_name};
use serde_json::json;
use std::path::PathBuf;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gguf").join(name)
}

fn open(name: &str) -> Gguf {
    Gguf::open(&golden(name)).unwrap()
}

fn read(file: &Gguf, name: &str) -> Vec<f32> {
    let mut out = vec![f32::NAN; file.shape(name).unwrap().iter().product()];
    file.read_f32(name, &mut out).unwrap();
    out
}

#[test]
fn every_type_is_dequantized_bit_for_bit() {
    let file = open("types.gguf");
    let bytes = std::fs::read(golden("types.safetensors")).unwrap();
    let expected = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(expected.len(), 16);
    for (name, view) in expected.tensors() {
        let ours = read(&file, &name);
        assert_eq!(file.shape(&name).unwrap(), view.shape());
        for (i, (o, e)) in ours.iter().zip(view.data().chunks_exact(4)).enumerate() {
            let e = f32::from_le_bytes(e.try_into().unwrap());
            assert_eq!(o.to_bits(), e.to_bits(), "{name}[{i}]: {o} is not {e}");
        }
    }
}

/// FNV-1a over the 32-bit patterns, as in the script.
fn fnv1a(values: &[f32]) -> String {
    let hash = values
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |h: u64, v| (h ^ u64::from(v.to_bits())).wrapping_mul(0x100_0000_01b3));
    format!("{hash:016x}")
}

/// Every tensor of the Hugging Face model is found, with its shape and its bits.
fn check_network(name: &str) -> serde_json::Value {
    let file = open(&format!("{name}.gguf"));
    let text = std::fs::read_to_string(golden(&format!("{name}.json"))).unwrap();
    let expected: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert!(expected.len() > 15);
    for (tensor, e) in &expected {
        assert_eq!(json!(file.shape(tensor).unwrap()), e["shape"], "{tensor}");
        assert_eq!(json!(fnv1a(&read(&file, tensor))), e["fnv1a"], "{tensor}");
    }
    file.config().unwrap()
}

/// Asserts that `config` contains `expected`.
fn assert_config(config: &serde_json::Value, expected: serde_json::Value) {
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(config.get(key), Some(value), "{key} in {config:#}");
    }
}

#[test]
fn qwen2() {
    let config = check_network("qwen2");
    assert_config(
        &config,
        json!({"model_type": "qwen2", "num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 96,
               "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
               "tie_word_embeddings": false, "vocab_size": 40, "max_position_embeddings": 128}),
    );
}

#[test]
fn llama_with_its_row_order_undone() {
    let config = check_network("llama");
    assert_config(
        &config,
        json!({"model_type": "llama", "tie_word_embeddings": true, "attention_bias": false,
               "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                "original_max_position_embeddings": 8192}}),
    );
}

#[test]
fn deepseek_v3_with_split_kv_b_and_stacked_experts() {
    let config = check_network("deepseek_v3");
    assert_config(
        &config,
        json!({"model_type": "deepseek_v3", "q_lora_rank": 32, "kv_lora_rank": 32, "qk_nope_head_dim": 32,
               "qk_rope_head_dim": 16, "v_head_dim": 64, "num_key_value_heads": 2, "first_k_dense_replace": 1,
               "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
               "scoring_func": "sigmoid", "topk_method": "noaux_tc", "n_group": 2, "topk_group": 1,
               "norm_topk_prob": true, "routed_scaling_factor": 2.5}),
    );
    assert_config(&config["rope_scaling"], json!({"type": "yarn", "factor": 40.0, "mscale_all_dim": 1.0}));
}

#[test]
fn deepseek_v2_with_whole_kv_b() {
    let config = check_network("deepseek_v2");
    assert_config(
        &config,
        json!({"model_type": "deepseek_v2", "q_lora_rank": null, "qk_nope_head_dim": 32, "v_head_dim": 64,
               "scoring_func": "softmax", "topk_method": "greedy", "norm_topk_prob": false}),
    );
    assert_config(&config["rope_scaling"], json!({"mscale": 0.707, "mscale_all_dim": 0.707, "beta_fast": 32.0}));
}

#[test]
fn qwen3_with_normed_heads() {
    let config = check_network("qwen3");
    assert_config(&config, json!({"model_type": "qwen3", "head_dim": 32, "attention_bias": false}));
}

#[test]
fn qwen3_with_stacked_experts() {
    let config = check_network("qwen3_moe");
    assert_config(
        &config,
        json!({"model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
               "norm_topk_prob": true, "tie_word_embeddings": false}),
    );
}

/// Every network described by a GGUF file is complete: config, shapes and tensors fit.
#[test]
fn networks_load() {
    for name in ["qwen2", "llama", "deepseek_v3", "deepseek_v2", "qwen3", "qwen3_moe"] {
        let model = meno_model::Model::load(&golden(&format!("{name}.gguf"))).unwrap();
        assert_eq!(model.config.model_type.name(), name);
    }
}

#[test]
fn metadata_of_every_kind() {
    let file = open("types.gguf");
    let strings: Vec<_> = file.strings("test.strings").unwrap().unwrap().map(Result::unwrap).collect();
    assert_eq!(strings, ["a", "", "ü", "日本"]);
    assert_eq!(file.integers("test.integers").unwrap().unwrap().collect::<Vec<_>>(), [-1, 0, 7]);
    assert_eq!(file.opt_f64("test.f32").unwrap(), Some(1e-6));
    assert_eq!(file.opt_bool("test.bool").unwrap(), Some(true));
    assert_eq!(file.get("test.i8"), Some(&Value::Signed(-5)));
    assert_eq!(file.opt_u64("test.u64").unwrap(), Some(u64::MAX));
    assert!(matches!(file.get("test.nested"), Some(Value::Array(a)) if a.len() == 2));
    let error = file.opt_u64("test.i8").unwrap_err().to_string();
    assert!(error.contains("`test.i8` is -5, expected a whole number"), "{error}");
    let error = file.u64("qwen2.block_count").unwrap_err().to_string();
    assert!(error.contains("`qwen2.block_count` is missing"), "{error}");
}

#[test]
fn absent_tensors_and_wrong_lengths_are_errors() {
    let file = open("qwen2.gguf");
    for name in ["model.layers.9.self_attn.q_proj.weight", "model.layers.x", "nonsense", "model.layers.0.mlp.experts.0"]
    {
        assert!(!file.contains(name));
        assert!(file.read_f32(name, &mut []).is_err());
    }
    let error = file.read_f32("model.norm.weight", &mut [0.0; 3]).unwrap_err().to_string();
    assert!(error.contains("model.norm.weight` has shape [64], expected 3 elements"), "{error}");
    let v3 = open("deepseek_v3.gguf");
    assert!(v3.contains("model.layers.1.mlp.experts.3.up_proj.weight"));
    assert!(!v3.contains("model.layers.1.mlp.experts.4.up_proj.weight"));
}

/// A handmade header.
#[derive(Default)]
struct Forged(Vec<u8>);

impl Forged {
    fn new(version: u32, tensors: u64, metadata: u64) -> Forged {
        Forged(b"GGUF".to_vec()).u32(version).u64(tensors).u64(metadata)
    }
    fn u32(mut self, n: u32) -> Forged {
        self.0.extend(n.to_le_bytes());
        self
    }
    fn u64(mut self, n: u64) -> Forged {
        self.0.extend(n.to_le_bytes());
        self
    }
    fn string(mut self, s: &str) -> Forged {
        self = self.u64(s.len() as u64);
        self.0.extend(s.as_bytes());
        self
    }
    fn tensor(self, name: &str, dims: &[u64], dtype: u32, offset: u64) -> Forged {
        let head = self.string(name).u32(dims.len() as u32);
        dims.iter().fold(head, |f, &d| f.u64(d)).u32(dtype).u64(offset)
    }
    fn zeros(mut self, n: usize) -> Forged {
        self.0.extend(vec![0; n]);
        self
    }
    #[track_caller]
    fn refused(self, expected: &str) {
        let error = Gguf::from_bytes("forged.gguf", self.0).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
        assert!(!error.contains('\n') && error.starts_with("forged.gguf: "), "{error}");
    }
}

#[test]
fn forged_headers_are_refused_with_a_reason() {
    Forged(b"GGML".to_vec()).refused("does not start with \"GGUF\"");
    Forged(b"GGUF".to_vec()).refused("version at byte 4 needs 4 bytes, but 0 are left");
    Forged::new(1, 0, 0).refused("version 1;");
    Forged::new(3u32.swap_bytes(), 0, 0).refused("big-endian");
    Forged::new(3, 0, u64::MAX).refused("entry 0 of 18446744073709551615");
    Forged::new(3, u64::MAX, 0).refused("tensor 0 of");
    Forged::new(3, 0, 1).u64(u64::MAX).refused("metadata key at byte");
    Forged::new(3, 0, 1).u64(2).zeros(0).refused("needs 2 bytes");
    Forged::new(3, 0, 1).string("k").u32(99).refused("`k` has the unknown type 99");
    Forged::new(3, 0, 1).string("k").u32(9).u32(8).u64(u64::MAX).refused("needs 8 bytes, but 0 are left");
    Forged::new(3, 0, 1).string("k").u32(9).u32(10).u64(u64::MAX / 4).refused("claims");
    Forged::new(3, 0, 1).string("k").u32(7).zeros(0).refused("needs 1 bytes");
    let nested = (0..10).fold(Forged::new(3, 0, 1).string("k").u32(9), |f, _| f.u32(9).u64(1));
    nested.refused("nests arrays");
    Forged::new(3, 0, 2).string("k").u32(0).zeros(1).string("k").u32(0).zeros(1).refused("`k` occurs twice");
    Forged::new(3, 0, 1).string("general.alignment").u32(4).u32(24).refused("expected a power of two");
}

#[test]
fn forged_tensors_are_refused_with_a_reason() {
    let one = || Forged::new(3, 1, 0);
    one().tensor("t", &[], 0, 0).refused("0 dimensions");
    one().tensor("t", &[1; 5], 0, 0).refused("5 dimensions");
    one().tensor("t", &[0, 4], 0, 0).refused("shape [4, 0]");
    one().tensor("t", &[1 << 40, 1 << 40], 0, 0).refused("too many elements");
    one().tensor("t", &[1 << 62], 0, 0).refused("too many bytes");
    one().tensor("t", &[33], 8, 0).refused("multiple of 32");
    one().tensor("t", &[32], 16, 0).refused("ggml type 16, which is not supported");
    one().tensor("t", &[32], 0, 8).refused("not a multiple of the alignment 32");
    one().tensor("t", &[1 << 40], 0, 0).refused("cut short");
    one().tensor("t", &[8], 0, u64::MAX - 31).refused("beyond 2^64");
    let two = Forged::new(3, 2, 0);
    two.tensor("a", &[16], 0, 0).tensor("b", &[16], 0, 32).zeros(200).refused("`a` and `b` overlap");
    let two = Forged::new(3, 2, 0);
    two.tensor("a", &[8], 0, 0).tensor("a", &[8], 0, 32).zeros(200).refused("`a` occurs twice");
}

impl Forged {
    /// File `no` of `count` with one tensor of 8 ones.
    fn part(no: u64, count: u64, tensors: u64, tensor: &str) -> Vec<u8> {
        let key = |f: Forged, k: &str, n: u64| f.string(k).u32(10).u64(n);
        let file = Forged::new(3, 1, 4).string("general.architecture").u32(8).string("qwen2");
        let file = key(key(file, "split.no", no), "split.count", count);
        let file = key(file, "split.tensors.count", tensors).tensor(tensor, &[8], 0, 0);
        let header = file.0.len();
        let mut bytes = file.zeros(header.next_multiple_of(32) - header).0;
        bytes.extend([1f32.to_le_bytes(); 8].as_flattened());
        bytes
    }
}

#[test]
fn split_files_are_opened_by_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let path = |i: usize| dir.path().join(format!("m-{i:05}-of-00003.gguf"));
    let names = ["token_embd.weight", "output.weight", "output_norm.weight"];
    let write = |i: usize, bytes: Vec<u8>| std::fs::write(path(i + 1), bytes).unwrap();
    let whole = || (0..3).for_each(|i| write(i, Forged::part(i as u64, 3, 3, names[i])));
    let refused = |at: usize, expected: &str| {
        let error = Gguf::open(&path(at)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    };
    whole();
    let file = Gguf::open(&path(1)).unwrap();
    for name in ["model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"] {
        assert_eq!(read(&file, name), [1.0; 8]);
    }
    refused(2, "this is file 2 of 3; open m-00001-of-00003.gguf");
    std::fs::rename(path(1), dir.path().join("other.gguf")).unwrap();
    let error = Gguf::open(&dir.path().join("other.gguf")).unwrap_err().to_string();
    assert!(error.contains("does not end with `-00001-of-00003.gguf`"), "{error}");
    whole();
    std::fs::remove_file(path(3)).unwrap();
    refused(1, "1 of them are missing from its directory (m-00003-of-00003.gguf is the first)");
    for (i, part, expected) in [
        (1, Forged::part(2, 3, 3, "output.weight"), "`split.no` is 2, expected 1 as the continuation of"),
        (1, Forged::part(1, 4, 3, "output.weight"), "`split.count` is 4, expected 3"),
        (1, Forged::part(1, 3, 3, "token_embd.weight"), "tensor `token_embd.weight` is in another file too"),
        (0, Forged::part(0, 3, 4, "token_embd.weight"), "`split.tensors.count` is 4, but the files have 3 tensors"),
        (0, Forged::part(0, u64::MAX, 3, "token_embd.weight"), "more files than the format allows"),
        (0, Forged::part(u64::MAX, 3, 3, "token_embd.weight"), "open the first"),
        (2, Forged::new(3, 0, 0).0, "`split.no` is missing"),
        (2, b"GGUF".to_vec(), "m-00003-of-00003.gguf: not a usable GGUF file"),
    ] {
        whole();
        write(i, part);
        refused(1, expected);
    }
    let error = Gguf::from_bytes("part", Forged::part(0, 2, 2, "t")).unwrap_err().to_string();
    assert!(error.contains("the other files are not in memory"), "{error}");
}

/// Every prefix of a real file is rejected; none causes a panic.
#[test]
fn truncated_files_are_refused() {
    for name in ["qwen2.gguf", "types.gguf"] {
        let bytes = std::fs::read(golden(name)).unwrap();
        let file = Gguf::from_bytes(name, bytes.clone()).unwrap();
        let header = bytes.len() - file.tensors().iter().map(|t| t.bytes).sum::<usize>();
        let ends = (0..header.min(4000)).chain((header.min(4000)..bytes.len() - 32).step_by(997));
        for end in ends {
            assert!(Gguf::from_bytes(name, bytes[..end].to_vec()).is_err(), "{name} cut to {end} bytes");
        }
    }
}

/// A whole published file against the `gguf` package: `../shared/models/fetch.sh qwen0.5b`, then
/// `dev/reference/gguf_dequant.py --real FILE`. Run with `cargo test -- --ignored --nocapture`; prints the time.
#[test]
#[ignore = "needs the real file in ~/.cache/meno/dev-models"]
fn published_file_bit_for_bit() {
    let dir = std::env::var_os("MENO_MODELS")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/meno/dev-models"));
    let path = dir.join("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf");
    let sums = std::fs::read(dir.join("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf.json")).unwrap();
    let sums: serde_json::Value = serde_json::from_slice(&sums).unwrap();
    let start = std::time::Instant::now();
    let file = Gguf::open(&path).unwrap();
    println!("header: {:?}", start.elapsed());
    let (mut buffer, mut time) = (vec![0.0; 151_936 * 896], std::time::Duration::ZERO);
    for info in file.tensors() {
        let values = &mut buffer[..info.elements];
        let start = std::time::Instant::now();
        file.read_f32(&hf_name(&info.name).unwrap(), values).unwrap();
        time += start.elapsed();
        let sum = values
            .iter()
            .enumerate()
            .fold(0u64, |sum, (i, v)| sum.wrapping_add((u64::from(v.to_bits()) + 1).wrapping_mul(2 * i as u64 + 1)));
        assert_eq!(json!(format!("{sum:016x}")), sums[&info.name], "{}", info.name);
    }
    println!("{} tensors dequantized in {time:?}", file.tensors().len());
}
