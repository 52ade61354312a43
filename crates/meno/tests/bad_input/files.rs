//! Files whose contents contradict their format: `meno inspect` reads every kind.

use super::{CONFIG, Dir, config_with, golden, meno, refused};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

/// A safetensors file with this header and this many bytes of data.
fn safetensors(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(vec![0; data]);
    bytes
}

#[test]
fn absent_and_strange_files() {
    let dir = Dir::new();
    refused(&["inspect", &dir.path("nothing")], &["nothing", "No such file"]);
    refused(&["inspect", &dir.write("notes.txt", "hello")], &["notes.txt: is text, not a model"]);
    refused(&["inspect", &dir.path("")], &["holds no model: there is neither config.json nor a GGUF file"]);
    refused(&["inspect", &dir.write("empty.gguf", "")], &["empty.gguf"]);
    refused(&["inspect", &dir.write("empty.safetensors", "")], &["empty.safetensors", "shorter than 8 bytes"]);
}

#[test]
fn usage_mistakes() {
    for args in [&["inspect"][..], &["inspct"], &["inspect", "--nonsense", "x"]] {
        let output = meno(args).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: "), "{args:?}");
    }
    assert_eq!(meno(&["--help"]).output().unwrap().status.code(), Some(0));
    assert_eq!(meno(&["--version"]).output().unwrap().status.code(), Some(0));
}

#[test]
fn truncated_and_lying_gguf() {
    let dir = Dir::new();
    let whole = std::fs::read(golden("qwen2.gguf")).unwrap();
    let cut = |n: usize| dir.write("cut.gguf", &whole[..n]);
    refused(&["inspect", &cut(10)], &["cut.gguf: not a usable GGUF file", "tensor count"]);
    refused(&["inspect", &cut(200)], &["cut.gguf"]);
    refused(&["inspect", &cut(whole.len() - 4000)], &["the file at", "cut short"]);
    // 2^64 - 1 metadata entries, or tensors.
    for at in [8, 16] {
        let mut lying = whole.clone();
        lying[at..at + 8].fill(0xff);
        refused(&["inspect", &dir.write("lying.gguf", lying)], &["lying.gguf"]);
    }
}

#[test]
fn truncated_and_lying_safetensors() {
    let dir = Dir::new();
    let tensor = |fields: &str| format!(r#"{{"model.norm.weight": {{{fields}}}}}"#);
    let good = tensor(r#""dtype": "F32", "shape": [16], "data_offsets": [0, 64]"#);
    let path = dir.write("good.safetensors", safetensors(&good, 64));
    assert!(meno(&["inspect", &path]).output().unwrap().status.success());

    let refuse = |bytes: Vec<u8>, expected: &str| {
        refused(&["inspect", &dir.write("bad.safetensors", bytes)], &["bad.safetensors", expected]);
    };
    refuse(safetensors(&good, 63), "cut short");
    refuse(safetensors(&good, 64)[..40].to_vec(), "cut short");
    refuse([0xff; 16].to_vec(), "claims a header of 18446744073709551615 bytes");
    refuse(safetensors("not json", 0), "not JSON");
    refuse(safetensors(&tensor(r#""dtype": "F32", "data_offsets": [0, 4]"#), 4), "no `shape`");
    let forged = tensor(r#""dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 4]"#);
    refuse(safetensors(&forged, 4), "model.norm.weight");
    let forged = tensor(r#""dtype": "F32", "shape": [1099511627776], "data_offsets": [0, 4]"#);
    refuse(safetensors(&forged, 4), "more elements than bytes");
    refuse(safetensors(&tensor(r#""dtype": "F32", "shape": [1], "data_offsets": [8, 4]"#), 8), "offsets are wrong");
}

#[test]
fn configs_with_missing_or_wrong_keys() {
    let dir = Dir::new();
    let refuse = |config: &str, expected: &str| {
        refused(&["inspect", &dir.write("config.json", config)], &["config.json", expected]);
    };
    refuse("{", "JSON");
    refuse("[]", "model_type");
    refuse(&config_with("model_type", "mamba".into()), "mamba");
    for key in ["model_type", "hidden_size", "num_hidden_layers", "vocab_size", "intermediate_size"] {
        refuse(&config_with(key, serde_json::Value::Null), key);
    }
    refuse(&config_with("hidden_size", "big".into()), "hidden_size");
    refuse(&config_with("num_hidden_layers", 4_000_000_000u64.into()), "num_hidden_layers");
    refuse(&config_with("vocab_size", (-1).into()), "vocab_size");
    // Keys that contradict each other.
    refuse(&config_with("num_key_value_heads", 3.into()), "does not divide num_attention_heads 4");
    refuse(&config_with("num_attention_heads", 5.into()), "num_attention_heads");
    let good = dir.write("config.json", CONFIG);
    assert!(meno(&["inspect", &good]).output().unwrap().status.success());
}

/// A full disk, for output on standard output.
#[test]
#[cfg(target_os = "linux")]
fn output_that_cannot_be_written() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let model = golden("qwen2.gguf");
    let output = meno(&["inspect", model.to_str().unwrap()]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("cannot write to standard output: No space left"), "{stderr}");
}

/// `meno inspect … | head -0`
#[test]
fn a_closed_pipe_ends_quietly() {
    let model = golden("qwen2.gguf");
    let mut child = meno(&["inspect", model.to_str().unwrap()]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = child.stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.signal(), Some(libc::SIGPIPE));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
