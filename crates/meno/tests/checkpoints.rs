//! `meno quantize`, `meno convert` and `meno inspect`, seen from outside.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use std::path::{Path, PathBuf};
use std::process::Command;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../meno-model/tests/golden").join(name)
}

/// Exit code, output, errors.
fn meno(args: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_meno")).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

#[test]
fn a_gguf_file_in_fewer_bits() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (golden("gguf/qwen3_moe.gguf"), dir.path().join("small.gguf"));
    let (from, to) = (from.to_str().unwrap(), to.to_str().unwrap());
    let (code, out, err) = meno(&["quantize", from, "--type", "Q4_0", "--out", to]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("Q4_0 ") && out.contains("bits a weight"), "{out}");
    assert!(err.contains("is quantised already"), "{err}");
    let (code, out, _) = meno(&["inspect", to]);
    assert!(code == 0 && out.contains("GGUF version 3") && out.contains("Q4_0") && out.contains("qwen3_moe"), "{out}");
    let (code, _, err) = meno(&["quantize", from, "--type", "q7", "--out", to]);
    assert!(code == 1 && err.contains("expected one of f32, f16"), "{err}");
    let (code, _, err) = meno(&["quantize", from, "--type", "q8_0", "--out", dir.path().to_str().unwrap()]);
    assert!(code == 1 && err.contains("is a directory"), "{err}");
}

#[test]
fn a_directory_needs_its_tokenizer_for_gguf_only() {
    let dir = tempfile::tempdir().unwrap();
    let (from, out) = (golden("llama"), dir.path().join("merged"));
    let (from, out) = (from.to_str().unwrap(), out.to_str().unwrap());
    let gguf = dir.path().join("x.gguf");
    let (code, _, err) = meno(&["convert", from, gguf.to_str().unwrap()]);
    assert!(code == 1 && err.contains("tokenizer.json: is missing"), "{err}");
    assert!(!gguf.exists());
    let adapter = golden("lora");
    let (code, stdout, err) = meno(&["convert", from, out, "--type", "f32", "--lora", adapter.to_str().unwrap()]);
    assert_eq!(code, 0, "{err}");
    assert!(stdout.contains("6 weights merged"), "{stdout}");
    assert!(Path::new(out).join("config.json").is_file() && Path::new(out).join("model.safetensors").is_file());
    let (code, _, err) = meno(&["convert", out, out]);
    assert!(code == 1 && err.contains("is the input"), "{err}");
    let (code, _, err) = meno(&["convert", from, out, "--type", "q8_0"]);
    assert!(code == 1 && err.contains("a directory holds f32, f16 or bf16"), "{err}");
}

#[test]
fn what_a_shape_would_take_is_said_to_be_computed() {
    let config = golden("deepseek_v3/config.json");
    let config = config.to_str().unwrap();
    let (code, out, _) = meno(&["inspect", config, "--bandwidth", "100"]);
    assert!(code == 0 && out.contains("Computed, not measured at 100 GB/s") && out.contains("q4_k_m"), "{out}");
    let (code, out, _) = meno(&["inspect", config, "--json", "--bandwidth", "0.5"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let types = json["computed"]["types"].as_array().unwrap();
    assert!(code == 0 && types.len() > 5);
    for t in types {
        let (read, speed) = (t["read_per_token_bytes"].as_f64().unwrap(), t["tokens_per_s"].as_f64().unwrap());
        assert!((speed * read / 0.5e9 - 1.0).abs() < 1e-6 && read < t["weights_bytes"].as_f64().unwrap());
    }
    let (code, _, err) = meno(&["inspect", config, "--bandwidth", "0"]);
    assert!(code == 1 && err.contains("expected gigabytes a second"), "{err}");
}
