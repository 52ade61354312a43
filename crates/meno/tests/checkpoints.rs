//! `meno quantize`, `meno convert` and `meno inspect` through the binary.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

#[path = "common/signals.rs"]
mod signals;

use std::path::{Path, PathBuf};
use std::process::Command;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../meno-model/tests/golden").join(name)
}

/// Exit code, output, errors.
fn meno(args: &[&str]) -> (i32, String, String) {
    let out = signals::meno().args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

#[test]
fn a_gguf_file_in_fewer_bits() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (golden("gguf/qwen3_moe.gguf"), dir.path().join("small.gguf"));
    let (from, to) = (from.to_str().unwrap(), to.to_str().unwrap());
    let (code, _, err) = meno(&["quantize", from, "--type", "Q4_0", "--out", to]);
    assert!(code == 1 && err.contains("is quantized already") && err.contains("--allow-requantize"), "{err}");
    assert!(!Path::new(to).exists());
    let (code, _, err) = meno(&["convert", from, to, "--type", "Q4_0"]);
    assert!(code == 1 && err.contains("is quantized already"), "{err}");
    let (code, out, err) = meno(&["quantize", from, "--type", "Q4_0", "--out", to, "--allow-requantize"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("Q4_0 ") && out.contains("bits a weight"), "{out}");
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
    assert!(code == 1 && err.contains("has no tokenizer.json"), "{err}");
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
    let (code, _, err) = meno(&["convert", from, out]);
    assert!(code == 1 && err.contains("not empty; use --force"), "{err}");
    // The files of the old model are replaced; other files stay.
    for name in ["notes.md", "model-00001-of-00002.safetensors", "model.safetensors.index.json"] {
        std::fs::write(Path::new(out).join(name), "x").unwrap();
    }
    let (code, _, err) = meno(&["convert", from, out, "--force", "--type", "f16"]);
    assert_eq!(code, 0, "{err}");
    assert!(std::fs::read_to_string(Path::new(out).join("config.json")).unwrap().contains("float16"));
    assert_eq!(names(Path::new(out)), ["config.json", "model.safetensors", "notes.md"]);
}

/// Names in a directory, sorted.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[cfg(unix)]
#[test]
fn an_output_is_never_the_input() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::copy(golden("gguf/qwen3_moe.gguf"), at("model.gguf")).unwrap();
    std::fs::hard_link(at("model.gguf"), at("hard.gguf")).unwrap();
    std::os::unix::fs::symlink("model.gguf", at("soft.gguf")).unwrap();
    std::fs::write(at("other.gguf"), "other").unwrap();
    let before = std::fs::read(at("model.gguf")).unwrap();
    for out in ["model.gguf", "hard.gguf", "soft.gguf", "../"] {
        let out = if out == "../" { format!("{}/./model.gguf", dir.path().display()) } else { at(out) };
        let args = [&at("model.gguf"), "--allow-requantize", "--force"];
        let (code, _, err) = meno(&[&["quantize", "--type", "q8_0", "--out", &out][..], &args].concat());
        assert!(code == 1 && err.contains("is the input"), "{out}: {err}");
        let (code, _, err) = meno(&[&["convert", "--type", "q8_0"][..], &[args[0], &out], &args[1..]].concat());
        assert!(code == 1 && err.contains("is the input"), "{out}: {err}");
        let (code, _, err) = meno(&["logits", "-m", &at("model.gguf"), "--tokens", "1", "--force", "--out", &out]);
        assert!(code == 1 && err.contains("is the input"), "{out}: {err}");
    }
    let (code, _, err) = meno(&["convert", &at("model.gguf"), &at("other.gguf"), "--type", "f32"]);
    assert!(code == 1 && err.contains("other.gguf: already exists; use --force"), "{err}");
    assert_eq!(std::fs::read_to_string(at("other.gguf")).unwrap(), "other");
    // An output that is a link is followed: the file is written at the link's target, and the link stays a link.
    std::fs::create_dir(at("disk")).unwrap();
    std::os::unix::fs::symlink("disk/far.gguf", at("far.gguf")).unwrap();
    let (code, _, err) = meno(&["convert", &at("model.gguf"), &at("far.gguf"), "--type", "f32"]);
    assert_eq!(code, 0, "{err}");
    assert!(Path::new(&at("far.gguf")).is_symlink() && Path::new(&at("disk/far.gguf")).is_file());
    assert!(std::fs::read(at("model.gguf")).unwrap() == before);
}

#[cfg(unix)]
#[test]
fn an_interrupted_write_leaves_nothing() {
    use meno::model::{Config, Dtype, Model};
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    // Large enough for a signal to arrive before the end.
    let config = serde_json::json!({
        "model_type": "qwen2", "vocab_size": 16384, "hidden_size": 512, "intermediate_size": 2048,
        "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 8, "max_position_embeddings": 64,
        "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true, "hidden_act": "silu"
    });
    let model = Model::random(Config::from_value("config.json", config).unwrap(), 1).unwrap();
    model.save(Path::new(&at("model")), Dtype::F32).unwrap();
    for args in [vec!["convert", "IN", "copy"], vec!["convert", "IN", "there", "--force"]] {
        let there = args.contains(&"there");
        if there {
            std::fs::create_dir(at("there")).unwrap();
            std::fs::write(at("there/notes"), "x").unwrap();
        }
        let mut command = signals::meno();
        command.current_dir(dir.path()).args(args.iter().map(|a| if *a == "IN" { "model" } else { a }));
        let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        let inside = if there { at("there") } else { at("") };
        while !names(Path::new(&inside)).iter().any(|n| n.ends_with(".tmp")) && child.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_micros(200));
        }
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{args:?}: {err}");
        let left = if there { vec!["notes".to_owned()] } else { vec!["model".to_owned()] };
        assert_eq!(names(Path::new(&inside)), left, "{args:?}");
    }
    // The file size limit acts like a full disk. Here no shell makes the command ignore the limit's signal.
    let limited = "ulimit -f 20000; exec \"$0\" \"$@\"";
    let args = ["-c", limited, env!("CARGO_BIN_EXE_meno"), "convert", "model", "copy"];
    let output = Command::new("sh").args(args).current_dir(dir.path()).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && err.contains("File too large"), "{:?} {err}", output.status);
    assert_eq!(names(dir.path()), ["model", "there"]);
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
