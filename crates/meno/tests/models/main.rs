//! Models with unusual weights or files, tested through the binary: padded, tied, broken.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

mod broken;
mod generation;
mod padded;
mod tied;

use meno::model::{Config, Dtype, Model};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Number of tokens of the small tokenizer.
const TOKENS: usize = 694;
/// Rows of the networks; more than there are tokens.
const ROWS: usize = 704;

/// A directory with a small model in `model`.
struct Dir(tempfile::TempDir);

impl Dir {
    /// A random network with the small byte-level tokenizer; `change` may modify its weights.
    fn new(tied: bool, change: impl FnOnce(&mut Model)) -> Dir {
        let dir = Dir(tempfile::tempdir().unwrap());
        let config = json!({
            "model_type": "qwen2", "vocab_size": ROWS, "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0, "max_position_embeddings": 128, "tie_word_embeddings": tied,
            "initializer_range": 0.2, "hidden_act": "silu"
        });
        let mut model = Model::random(Config::from_value("config.json", config).unwrap(), 7).unwrap();
        change(&mut model);
        dir.save(&model, "model");
        dir
    }

    fn save(&self, model: &Model, name: &str) {
        // Meno does not save broken weights, so a broken model is written as another program might write it.
        model.save(&self.path(name), Dtype::F32).unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../meno-engine/tests/fixtures/small_tokenizer");
        for file in ["tokenizer.json", "tokenizer_config.json"] {
            std::fs::copy(from.join(file), self.path(name).join(file)).unwrap();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.path(name)).unwrap()).unwrap()
    }

    /// Runs `meno` in this directory.
    fn meno(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meno"));
        command.args(args).current_dir(self.0.path()).stdin(Stdio::null()).output().unwrap()
    }

    /// Standard output of a command that succeeds.
    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let output = self.meno(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Asserts that the command fails with a user error that contains all of `expected`.
    #[track_caller]
    fn refused(&self, args: &[&str], expected: &[&str]) {
        let output = self.meno(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
        for part in expected {
            assert!(stderr.contains(part), "{args:?}: {stderr:?} does not say {part:?}");
        }
    }

    /// The answers of `meno generate --json` to a raw prompt.
    #[track_caller]
    fn generate(&self, model: &str, args: &[&str]) -> Vec<Value> {
        let args = [&["generate", "-m", model, "--raw", "--json", "-p", "one two", "--threads", "1"], args].concat();
        self.ok(&args).lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }

    /// Fine-tunes `model` for `steps` steps into `out`.
    fn sft(&self, model: &str, out: &str, more: &str) -> String {
        self.write("data.jsonl", r#"{"prompt": "one two", "completion": " three"}"#);
        let name = format!("{out}.toml");
        self.write(
            &name,
            &format!(
                "[model]\npath = {model:?}\n[data]\nfiles = [\"data.jsonl\"]\n[sft]\ntrain_batch_size = 2\n\
                 [train]\nmax_tokens = 64\n{more}\n[run]\noutput_dir = {out:?}\nsave_steps = 1\n"
            ),
        );
        name
    }
}

fn tokens(answer: &Value) -> Vec<usize> {
    answer["tokens"].as_array().unwrap().iter().map(|t| t.as_u64().unwrap() as usize).collect()
}

/// Changes the values of a parameter.
fn change(model: &mut Model, name: &str, mut f: impl FnMut(&mut [f32])) {
    let p = model.layout().find(name).unwrap();
    model.weights.update(p, &mut f).unwrap();
}
