//! `meno sft` with held-out examples and questions: their metrics, the best model, a resumed run, and weights
//! that are bit-identical to those of a run without them.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

struct Dir(tempfile::TempDir);

impl Dir {
    /// Traces to train on, and others that are held out.
    fn new() -> Dir {
        let dir = Dir(tempfile::tempdir().unwrap());
        let all = std::fs::read_to_string(root().join("recipes/tiny/cold-start.jsonl")).unwrap();
        let lines: Vec<&str> = all.lines().collect();
        std::fs::write(dir.path("train.jsonl"), lines[..48].join("\n")).unwrap();
        std::fs::write(dir.path("held-out.jsonl"), lines[48..64].join("\n")).unwrap();
        let question = "{\"question\":\"What is 2+3?\",\"answer\":\"5\"}\n";
        std::fs::write(dir.path("questions.jsonl"), question.repeat(2)).unwrap();
        dir
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Fine-tunes into the directory `out`; returns the output and the exit code.
    fn sft(&self, out: &str, sets: &[&str], more: &[&str]) -> (String, Option<i32>) {
        let recipe = self.path("sft.toml");
        let text = "[model]\nconfig = \"recipes/tiny/model/config.json\"\ntokenizer = \"recipes/tiny/model\"\n\
                    [train]\nmax_steps = 4\nlearning_rate = 2e-3\nmax_tokens = 512\n[sft]\ntrain_batch_size = 8\n";
        std::fs::write(&recipe, text).unwrap();
        let files = format!("data.files=[{:?}]", self.path("train.jsonl"));
        let out = format!("run.output_dir={:?}", self.path(out));
        let mut command = Command::new(env!("CARGO_BIN_EXE_meno"));
        command.arg("sft").arg(&recipe).arg("--plain").args(more).current_dir(root()).stdin(Stdio::null());
        for set in sets.iter().copied().chain([files.as_str(), &out]) {
            command.args(["--set", set]);
        }
        let output = command.output().unwrap();
        (String::from_utf8_lossy(&output.stderr).into_owned(), output.status.code())
    }

    fn column(&self, out: &str, name: &str) -> Vec<f64> {
        let text = std::fs::read_to_string(self.path(out).join("metrics.jsonl")).unwrap();
        let lines = text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
        lines.filter_map(|l| l[name].as_f64()).collect()
    }

    fn weights(&self, out: &str) -> Vec<u8> {
        std::fs::read(self.path(out).join("model.safetensors")).unwrap()
    }

    fn best(&self, out: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.path(out).join("best/eval.json")).unwrap()).unwrap()
    }
}

#[test]
fn the_held_out_loss_is_measured_and_changes_nothing() {
    let dir = Dir::new();
    let files = format!("eval.eval_files=[{:?}]", dir.path("held-out.jsonl"));
    let sets = ["eval.eval_steps=2", files.as_str(), "run.save_steps=2"];
    let (said, code) = dir.sft("with", &sets, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("step 2: held-out loss ") && said.contains("the best so far, kept in"), "{said}");
    assert_eq!(dir.sft("without", &[], &[]).1, Some(0));
    assert!(dir.weights("with") == dir.weights("without"), "the same bits with and without evaluation");
    let losses = dir.column("with", "eval/loss");
    // The loss starts at that of a random network, ln of the vocabulary size, and decreases.
    assert!(losses.len() == 2 && losses[1] < losses[0] && losses[0] < 8.0, "{losses:?}");
    let best = dir.best("with");
    assert_eq!((best["step"].as_u64(), best["metric"].as_str()), (Some(4), Some("loss")), "{best}");
    assert_eq!(best["loss"].as_f64(), Some(losses[1]));
    // An interrupted run still compares with its best model after resuming, and accepts only the same held-out file.
    let short = [&sets[..], &["train.max_steps=2"]].concat();
    assert_eq!(dir.sft("resumed", &short, &[]).1, Some(0));
    assert_eq!(dir.best("resumed")["step"].as_u64(), Some(2));
    let (said, code) = dir.sft("resumed", &[&sets[..], &["train.learning_rate=0.5"]].concat(), &["--resume"]);
    assert!(code == Some(1) && said.contains("train.learning_rate: "), "{said}");
    std::fs::copy(dir.path("held-out.jsonl"), dir.path("moved.jsonl")).unwrap();
    let moved = format!("eval.eval_files=[{:?}]", dir.path("moved.jsonl"));
    let (said, code) = dir.sft("resumed", &["eval.eval_steps=2", &moved, "run.save_steps=2"], &["--resume"]);
    assert_eq!(code, Some(0), "{said}");
    std::fs::copy(dir.path("train.jsonl"), dir.path("moved.jsonl")).unwrap();
    let (said, code) = dir.sft("resumed", &["eval.eval_steps=2", &moved, "train.max_steps=6"], &["--resume"]);
    assert!(code == Some(1) && said.contains("moved.jsonl") && said.contains("sha256"), "{said}");
}

#[test]
fn a_run_that_forgets_ends_with_its_best_model() {
    let dir = Dir::new();
    let files = format!("eval.eval_files=[{:?}]", dir.path("held-out.jsonl"));
    let sets = [
        "eval.eval_steps=1",
        files.as_str(),
        "eval.load_best_model_at_end=true",
        "train.max_steps=6",
        "train.learning_rate=2.0",
        "train.max_grad_norm=0",
        "train.warmup_steps=6",
        "run.save_steps=0",
    ];
    let (said, code) = dir.sft("run", &sets, &[]);
    assert_eq!(code, Some(0), "{said}");
    let losses = dir.column("run", "eval/loss");
    let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(losses.len() == 6 && losses[5] > least, "at this rate it gets worse: {losses:?}");
    assert_eq!(dir.best("run")["loss"].as_f64(), Some(least));
    assert!(dir.weights("run") == dir.weights("run/best"), "the best model is what the run ends with");
}

#[test]
fn held_out_questions_are_asked_too() {
    let dir = Dir::new();
    let files = format!("eval.eval_files=[{:?}]", dir.path("held-out.jsonl"));
    let task = format!("eval.eval_task={:?}", dir.path("questions.jsonl").display().to_string());
    let asked = ["eval.eval_steps=4", &task, "task.prompt=plain", "eval.max_completion_length=16"];
    let (said, code) = dir.sft("both", &[&asked[..], &[&files]].concat(), &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("step 4: held-out pass@1 0.0 %") && said.contains(", loss "), "{said}");
    assert_eq!((dir.column("both", "eval/pass1"), dir.column("both", "eval/loss").len()), (vec![0.0], 1));
    assert_eq!(dir.best("both")["metric"].as_str(), Some("pass1"));
    let by_loss = [&asked[..], &[&files, "eval.metric_for_best_model=loss"]].concat();
    assert_eq!(dir.sft("by-loss", &by_loss, &[]).1, Some(0));
    assert_eq!(dir.best("by-loss")["metric"].as_str(), Some("loss"));
    for (sets, part) in [
        (vec!["eval.eval_steps=2"], "`eval.eval_steps` = 2: there is nothing to measure"),
        (vec!["eval.eval_steps=2", "eval.eval_task=arithmetic", "eval.split=train"], "`eval.split` = train"),
        (vec!["eval.eval_steps=2", "eval.metric_for_best_model=loss", &task], "there is no loss without"),
        (vec!["eval.eval_steps=2", "eval.eval_files=[\"no-such.jsonl\"]"], "no-such.jsonl"),
        (vec!["train.max_steps=0"], "`train.max_steps` = 0: expected 1 or above"),
    ] {
        let (said, code) = dir.sft("refused", &sets, &[]);
        assert!(code == Some(1) && said.contains(part), "{sets:?}: {said}");
        assert!(!dir.path("refused").exists(), "{sets:?}");
    }
}
