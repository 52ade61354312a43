//! What a user sees during long work: lines in a pipe, a live view in a terminal, a server that is loading.

#![cfg(unix)]
#![allow(clippy::unwrap_used)] // a test may fail by panicking

mod loading;
mod piped;
mod pty;
#[path = "../common/signals.rs"]
mod signals;
mod terminals;
#[path = "../common/tiny.rs"]
mod tiny;

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A directory with a random model of the tiny recipes, a corpus and questions.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        tiny::save_model(&place.path("model"));
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

    /// Arguments for a pretraining run of `steps` steps.
    fn pretraining(&self, steps: usize) -> Vec<String> {
        let recipe = tiny::root().join("recipes/tiny/pretrain.toml").display().to_string();
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
