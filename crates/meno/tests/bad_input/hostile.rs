//! Hostile model directories: names that lead out, files that never end, headers and tokenizers that would take for
//! ever. Each command ends by itself, soon, with the user's exit code.

use super::{CONFIG, Dir, meno, refused, runs};
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The command ends within a minute as the user's mistake, and its error holds all of `expected`.
#[track_caller]
fn refused_soon(args: &[&str], expected: &[&str]) {
    let mut child = meno(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("{args:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
    for part in expected {
        assert!(stderr.contains(part), "{args:?}: {stderr:?} does not say {part:?}");
    }
}

fn tensors(names: impl Iterator<Item = String>) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    for (i, name) in names.enumerate() {
        header.insert(name, json!({"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]}));
    }
    let data = vec![0; 4 * header.len()];
    let header = Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

#[test]
fn names_that_lead_out_of_the_directory() {
    let dir = Dir::new();
    let secret = dir.write("secret.safetensors", tensors(["secret.weight".to_owned()].into_iter()));
    dir.write("model/config.json", CONFIG);
    dir.write("model/inner/a.safetensors", tensors(["a".to_owned()].into_iter()));
    let model = dir.path("model");
    for name in ["../secret.safetensors", secret.as_str(), "inner/a.safetensors", "..", ".", "", "/", "./x", "x/"] {
        dir.write("model/model.safetensors.index.json", json!({"weight_map": {"w": name}}).to_string());
        let expected = ["model.safetensors.index.json", name, "expected the name of a file in the same directory"];
        refused(&["inspect", &model], &expected);
        refused(&["logits", "-m", &model, "--tokens", "1", "--out", &dir.path("x")], &expected);
        refused(&["convert", &model, &dir.path("x.gguf")], &expected);
    }
}

#[test]
fn files_that_are_no_files() {
    let dir = Dir::new();
    let model = runs::model(&dir, runs::TEMPLATE);
    let fifo = |path: &str| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    let generate = ["generate", "-m", &model, "--chat", "--prompt", "a", "--max-tokens", "1"];
    for name in [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
        "chat_template.jinja",
    ] {
        let (path, aside) = (dir.path(&format!("model/{name}")), dir.path("aside"));
        let kept = std::fs::rename(&path, &aside).is_ok();
        fifo(&path);
        refused_soon(&generate, &[name, "is a FIFO, expected a regular file"]);
        if ["config.json", "model.safetensors"].contains(&name) {
            refused_soon(&["inspect", &model], &[name, "is a FIFO"]);
        }
        // A device without end.
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        refused_soon(&generate, &[name, "is a device"]);
        std::fs::remove_file(&path).unwrap();
        if kept {
            std::fs::rename(&aside, &path).unwrap();
        }
    }
    let gguf = dir.path("a.gguf");
    fifo(&gguf);
    refused_soon(&["inspect", &gguf], &["a.gguf"]);
    refused_soon(&["perplexity", "-m", &model, "-f", "/dev/zero"], &["/dev/zero: is a device"]);
    let recipe = runs::recipe(&dir, &model, runs::GOOD, "");
    let data = dir.path("data.jsonl");
    std::fs::remove_file(&data).unwrap();
    fifo(&data);
    refused_soon(&["sft", &recipe, "--plain"], &["data.jsonl", "is a FIFO"]);
    let pipe = dir.path("pipe");
    fifo(&pipe);
    let serve = ["serve", "-m", &model, "--port", "0"];
    refused_soon(&[&serve[..], &["--tls-cert", &pipe, "--tls-key", &pipe]].concat(), &[&pipe, "is a FIFO"]);
    let prefixes = |file: &str, expected: &str| {
        refused_soon(&[&serve[..], &["--prefix-cache", file]].concat(), &["--prefix-cache", expected]);
    };
    prefixes(&pipe, "pipe: is a device or a pipe");
    prefixes(&dir.path("model/model.safetensors"), "is the input");
    prefixes(&dir.path("no/prefixes"), "there is no directory");
    refused_soon(
        &["logits", "-m", &model, "--tokens", "1", "--out", &pipe, "--force"],
        &["pipe: is a device or a pipe"],
    );
    let eval = ["eval", "-m", &model, "--task", "countdown", "--out", &pipe];
    refused_soon(&[&eval[..], &["--resume"]].concat(), &["pipe: is a device or a pipe"]);
}

#[test]
fn headers_with_very_many_tensors() {
    let dir = Dir::new();
    for (file, pattern) in [("a.safetensors", "t#"), ("b.safetensors", "model.layers.#.mlp.up_proj.weight")] {
        let path = dir.write(file, tensors((0..300_000).map(|i| pattern.replace('#', &i.to_string()))));
        // Within the processor time of `limited`.
        let output = meno(&["inspect", &path]).output().unwrap();
        assert!(output.status.success(), "{pattern}: {}", String::from_utf8_lossy(&output.stderr));
    }
    // As a model.
    dir.write("model/config.json", CONFIG);
    dir.write("model/model.safetensors", tensors((0..300_000).map(|i| format!("t{i}"))));
    refused_soon(&["logits", "-m", &dir.path("model"), "--tokens", "1", "--out", &dir.path("x")], &["is missing"]);
}

#[test]
fn tokenizers_that_never_end() {
    let dir = Dir::new();
    let model = runs::model(&dir, runs::TEMPLATE);
    let good: Value = serde_json::from_slice(&std::fs::read(dir.path("model/tokenizer.json")).unwrap()).unwrap();
    let with = |key: &str, value: Value| {
        let mut json = good.clone();
        json[key] = value;
        dir.write("model/tokenizer.json", json.to_string());
    };
    let prompt = format!("{}!", "a".repeat(40));
    let refuse = |expected: &str| {
        refused_soon(&["generate", "-m", &model, "--prompt", &prompt, "--max-tokens", "1"], &[expected]);
    };
    with(
        "pre_tokenizer",
        json!({"type": "Split", "pattern": {"Regex": "(a|aa)+$"}, "behavior": "Isolated", "invert": false}),
    );
    refuse("takes too long");
    with("normalizer", json!({"type": "Replace", "pattern": {"Regex": "a*"}, "content": "aa"}));
    refuse("matches the empty text");
    let doubles = vec![json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}); 20];
    with("normalizer", json!({"type": "Sequence", "normalizers": doubles}));
    refuse("times as long");
    let token = |text: String| {
        json!({"id": 0, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
                                      "normalized": false, "special": true})
    };
    with("added_tokens", (0..200_000).map(|i| token(format!("<{i}>"))).collect());
    refuse("200000 added tokens");
    with("added_tokens", json!([token("x".repeat(10 << 20))]));
    refuse("has 10485760 bytes");
}
