//! `meno bench infer` and `meno perplexity` through the binary.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use meno_engine::Tokenizer;
use meno_model::safetensors::Safetensors;
use std::path::{Path, PathBuf};
use std::process::Command;

fn crates(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Exit code, output, errors.
fn meno(args: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_meno")).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

#[test]
fn every_number_of_sequences_has_its_speed() {
    let model = crates("meno-model/tests/golden/gguf/qwen3_moe.gguf");
    let run = ["bench", "infer", "--threads", "1", "--prompt", "8", "--gen", "4", "--repeat", "1", "--json"];
    let (code, out, err) = meno(&[&run[..], &["--sequences", "1,3", "-m", model.to_str().unwrap()]].concat());
    assert_eq!(code, 0, "{err}");
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    for key in ["prompt_tokens_per_s", "gen_tokens_per_s", "gen_tokens_per_s_3", "gen_tokens_per_cpu_s", "load_cpu_s"] {
        assert!(json[key].as_f64().is_some_and(|x| x > 0.0), "{key}: {out}");
    }
    let (code, _, err) = meno(&[&run[..], &["--sequences", "0", "-m", model.to_str().unwrap()]].concat());
    assert!(code == 1 && err.contains("--sequences"), "{err}");
}

/// A model with random weights and the small tokenizer.
fn random_model(dir: &Path) {
    let config = std::fs::read_to_string(crates("meno-model/tests/golden/llama/config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["vocab_size"] = 704.into();
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let config = meno_model::config::Config::load(&dir.join("config.json")).unwrap();
    meno_model::Model::random(config, 1).unwrap().save(dir, meno_model::safetensors::Dtype::F32).unwrap();
    let tokenizer = crates("meno-engine/tests/fixtures/small_tokenizer/tokenizer.json");
    std::fs::copy(tokenizer, dir.join("tokenizer.json")).unwrap();
}

#[test]
fn perplexity_is_that_of_the_logits() {
    let dir = tempfile::tempdir().unwrap();
    random_model(dir.path());
    let (model, text, logits) = (dir.path().to_str().unwrap(), dir.path().join("text"), dir.path().join("logits"));
    std::fs::write(&text, "What is 12 + 30? Wait, let me check: 2 + 0 is 2 and 1 + 3 is 4. So it is 42.").unwrap();
    let (text, logits) = (text.to_str().unwrap(), logits.to_str().unwrap());
    let (code, out, err) = meno(&["perplexity", "-m", model, "-f", text, "--context", "16", "--chunks", "1", "--json"]);
    assert_eq!(code, 0, "{err}");
    let got: serde_json::Value = serde_json::from_str(&out).unwrap();

    let tokenizer = Tokenizer::load(dir.path()).unwrap();
    let ids = tokenizer.encode(&std::fs::read_to_string(text).unwrap(), true).unwrap();
    let list = ids[..16].iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let (code, _, err) = meno(&["logits", "-m", model, "--tokens", &list, "--out", logits]);
    assert_eq!(code, 0, "{err}");
    let mut values = vec![0f32; 16 * 704];
    Safetensors::open(Path::new(logits)).unwrap().read_f32("logits", &mut values).unwrap();
    // Position p predicts token p + 1; the second half is predicted.
    let surprise = |p: usize| {
        let row: Vec<f64> = values[704 * p..][..704].iter().map(|&x| f64::from(x)).collect();
        row.iter().map(|x| x.exp()).sum::<f64>().ln() - row[ids[p + 1] as usize]
    };
    let mean = (8..15).map(surprise).sum::<f64>() / 7.0;
    assert_eq!(got["tokens"], 7);
    assert!((got["nats_per_token"].as_f64().unwrap() - mean).abs() < 1e-4, "{got} {mean}");
    let (code, _, err) = meno(&["perplexity", "-m", model, "-f", text, "--context", "9999999"]);
    assert!(code == 1 && err.contains("--context 9999999: expected 4 to"), "{err}");
}
