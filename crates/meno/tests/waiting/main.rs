//! What a person sees of work that takes its time: lines in a pipe, a view in a terminal, a server that loads.

#![cfg(unix)]
#![allow(clippy::unwrap_used)] // a test may fail by panicking

mod loading;
mod piped;
mod pty;
#[path = "../common/signals.rs"]
mod signals;
mod terminals;

use meno::model::{Config, Dtype, Model};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A directory with a random model of the tiny recipes, a corpus and questions.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        let tiny = root().join("recipes/tiny/model");
        let model = place.path("model");
        let config = std::fs::read_to_string(tiny.join("config.json")).unwrap();
        let config = serde_json::from_str(&config).unwrap();
        Model::random(Config::from_value("tiny", config).unwrap(), 1).unwrap().save(&model, Dtype::F32).unwrap();
        for name in ["tokenizer.json", "tokenizer_config.json"] {
            std::fs::copy(tiny.join(name), model.join(name)).unwrap();
        }
        let lines = |line: &dyn Fn(usize) -> String| (0..60).map(line).collect::<Vec<_>>().join("\n");
        let text = lines(&|i| format!("{{\"text\":\"{i}+1=?<think>so</think><answer>{}</answer>\"}}", i + 1));
        std::fs::write(place.path("corpus.jsonl"), text).unwrap();
        let questions = lines(&|i| format!("{{\"question\":\"{i}+1?\",\"answer\":\"{}\"}}", i + 1));
        std::fs::write(place.path("q.jsonl"), questions).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn meno(&self, args: &[&str]) -> Command {
        let mut command = signals::meno();
        command.args(args).current_dir(self.0.path()).stdin(Stdio::null()).env_remove("NO_COLOR");
        command
    }

    /// Arguments of a pretraining of `steps` steps.
    fn pretraining(&self, steps: usize) -> Vec<String> {
        let recipe = root().join("recipes/tiny/pretrain.toml").display().to_string();
        let sets = [
            format!("run.output_dir={:?}", self.text("out")),
            format!("data.files=[{:?}]", self.text("corpus.jsonl")),
            format!("model.config={:?}", self.text("model/config.json")),
            format!("model.tokenizer={:?}", self.text("model")),
            format!("train.max_steps={steps}"),
            "train.max_tokens=256".into(),
            "pretrain.tokens_per_step=512".into(),
            "run.save_steps=100000".into(),
        ];
        ["pretrain".into(), recipe].into_iter().chain(sets.into_iter().flat_map(|s| ["--set".into(), s])).collect()
    }
}
