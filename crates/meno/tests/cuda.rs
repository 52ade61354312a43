//! The command on an emulated GPU (`dev/cuda/emulator`): the same results as on the CPU, the numerics contract, and
//! clear errors for cards that are missing, too old, too small or lost.
//!
//! The tests are skipped without a C++ compiler.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // a test may fail by panicking

#[path = "common/signals.rs"]
mod signals;

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The emulator and a directory for results.
struct Card {
    driver: PathBuf,
    dir: tempfile::TempDir,
}

impl Card {
    /// Builds the emulator and trains a model for two steps on the CPU. `None` without a C++ compiler.
    fn new() -> Option<Card> {
        let Some(library) = meno_tensor::testing::emulator::build() else {
            eprintln!("skipped: no C++ compiler");
            return None;
        };
        let card = Card { driver: library.parent().unwrap().into(), dir: tempfile::tempdir().unwrap() };
        assert!(card.pretrain("model", "cpu", &["train.max_steps=2"]).output().unwrap().status.success());
        Some(card)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The command with the emulated driver.
    fn meno(&self) -> Command {
        let mut command = signals::meno();
        command.env("LD_LIBRARY_PATH", &self.driver).current_dir(root());
        command
    }

    /// A short pretraining run of the tiny recipe's network.
    fn pretrain(&self, out: &str, device: &str, sets: &[&str]) -> Command {
        let common =
            ["train.max_tokens=64", "pretrain.tokens_per_step=64", "train.max_steps=4", "train.precision=\"f32\""];
        self.train("pretrain", "pretrain.toml", out, device, &[&common, sets].concat())
    }

    fn train(&self, verb: &str, recipe: &str, out: &str, device: &str, sets: &[&str]) -> Command {
        let mut command = self.meno();
        command.arg(verb).arg(root().join("recipes/tiny").join(recipe)).args(["--plain", "--device", device]);
        command.arg("--out").arg(self.path(out));
        sets.iter().for_each(|set| _ = command.args(["--set", set]));
        command
    }

    fn generate(&self, device: &str) -> Command {
        let mut command = self.meno();
        command.arg("generate").arg("-m").arg(self.path("model")).args(["--device", device, "--temperature", "0"]);
        command.args(["--max-tokens", "6", "-p", "12+34="]);
        command
    }

    /// The metrics of a run, step by step.
    fn metrics(&self, out: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path(out).join("metrics.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn weights(&self, out: &str) -> Vec<u8> {
        std::fs::read(self.path(out).join("model.safetensors")).unwrap()
    }
}

#[track_caller]
fn succeeds(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Asserts exit code 1 and returns the error.
#[track_caller]
fn fails(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(!text.contains("panicked") && !text.contains("internal error"), "{text}");
    text
}

#[test]
fn the_card_computes_what_the_cpu_computes() {
    let Some(card) = Card::new() else { return };
    for precision in ["f32", "bf16"] {
        let precision = format!("train.precision={precision:?}");
        for device in ["cpu", "cuda"] {
            succeeds(&mut card.pretrain(device, device, &[&precision]));
        }
        for (cpu, gpu) in card.metrics("cpu").iter().zip(card.metrics("cuda")) {
            for key in ["loss", "grad_norm"] {
                let [a, b] = [&cpu[key], &gpu[key]].map(|x| x.as_f64().unwrap());
                let tolerance = if precision.contains("f32") { 1e-4 } else { 2e-2 };
                assert!((a - b).abs() <= tolerance * a.abs(), "{precision}: {key} {a} on the CPU, {b} on the card");
            }
        }
        ["cpu", "cuda"].iter().for_each(|out| std::fs::remove_dir_all(card.path(out)).unwrap());
    }
    let answer =
        |device: &str, more: &[&str]| succeeds(card.generate(device).args(["--precision", "f32"]).args(more)).stdout;
    let expected = answer("cpu", &[]);
    assert!(!expected.is_empty());
    assert_eq!(answer("cuda", &[]), expected);
    assert_eq!(answer("cuda", &["--speculative", "mtp"]), expected);
}

#[test]
fn sampled_and_trained_tokens_have_the_same_bits() {
    let Some(card) = Card::new() else { return };
    let model = format!("model.path={:?}", card.path("model").display().to_string());
    let sets = [
        &model,
        "grpo.num_questions=2",
        "grpo.num_generations=4",
        "grpo.steps_per_generation=1",
        "grpo.max_completion_length=8",
        "train.max_steps=2",
        "train.max_tokens=200",
        "train.precision=\"bf16\"",
        // Random answers are never right, but they repeat themselves and differ in length.
        "grpo.reward_funcs=[\"repetition_penalty\",\"cosine_length\"]",
        "grpo.reward_weights=[1.0,1.0]",
    ];
    let output = succeeds(&mut card.train("grpo", "r1-zero.toml", "zero", "cuda", &sets));
    let notes = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!notes.contains("numerics contract"), "{notes}");
    let metrics = card.metrics("zero");
    assert!(metrics.iter().any(|step| step["grad_norm"].as_f64().unwrap() > 0.0), "it trains on something");
    for step in &metrics {
        assert_eq!(step["sampling/logprob_gap"], 0.0, "{step}");
    }
}

#[test]
fn a_plan_measures_the_card() {
    let Some(card) = Card::new() else { return };
    let mut command = card.meno();
    command.arg("plan").arg(root().join("recipes/tiny/pretrain.toml")).args(["--device", "cuda", "--gpus", "2"]);
    command.args(["--set", "train.max_tokens=16", "--memory", "1", "--json"]);
    let plan: Value = serde_json::from_slice(&succeeds(&mut command).stdout).unwrap();
    assert_eq!(plan["ranks"]["device"], "cuda:0");
    let bf16 =
        plan["memory"]["parts"].as_array().unwrap().iter().any(|part| part["name"] == "copies of weights in bf16");
    assert!(bf16, "a recipe without a precision runs in bf16 on a GPU: {plan}");
    assert!(plan["assumptions"][0].as_str().unwrap().starts_with("measured on this machine, cuda:0"), "{plan}");
    assert!(plan["time"]["step_seconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_lost_card_ends_the_run_which_continues_with_the_same_bits() {
    let Some(card) = Card::new() else { return };
    let sets = ["run.save_steps=1", "train.max_steps=3"];
    succeeds(&mut card.pretrain("whole", "cuda", &sets));
    let mut lost = 0;
    for launches in [1200, 2400] {
        let output = card
            .pretrain("lost", "cuda", &sets)
            .args(if lost > 0 { &["--resume"][..] } else { &[] })
            .env("MENO_EMULATOR_LOSE_AFTER", launches.to_string())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            assert_eq!(output.status.code(), Some(1), "{text}");
            assert!(text.contains("cuda:0: ") && text.contains("--resume"), "{text}");
            lost += usize::from(card.path("lost").exists());
        }
    }
    assert!(lost > 0, "the card was lost after a checkpoint");
    succeeds(card.pretrain("lost", "cuda", &sets).args(["--resume"]));
    assert!(card.weights("lost") == card.weights("whole"), "a resumed run has the bits of a whole one");
}

#[test]
fn cards_that_cannot_be_used_are_errors_that_say_why() {
    let Some(card) = Card::new() else { return };
    for (variable, value, expected) in [
        ("MENO_EMULATOR_DEVICES", "0", "no CUDA-capable device"),
        ("MENO_EMULATOR_DRIVER", "12080", "supports CUDA 12.8, Meno needs 13.0 or later"),
        ("MENO_EMULATOR_COMPUTE", "120", "supports CUDA 13.0, Meno needs 13.3 or later"),
        ("MENO_EMULATOR_COMPUTE", "75", "has compute capability 7.5, Meno needs 8.0 or later"),
    ] {
        let text = fails(card.generate("cuda").env(variable, value));
        assert!(text.contains("cuda:0 is not available") && text.contains(expected), "{text}");
    }
    let text = fails(&mut card.generate("cuda:7"));
    assert!(text.contains("cuda:7 is not available: this machine has 1 card, cuda:0"), "{text}");
    let text = fails(card.generate("cuda").env_remove("LD_LIBRARY_PATH"));
    assert!(text.contains("cuda:0 is not available"), "{text}");
    let text = fails(card.generate("cuda").env("MENO_EMULATOR_MEMORY", "500000"));
    assert!(text.contains("out of memory") && text.contains("for the weights") && text.contains("are free"), "{text}");
    let text = fails(card.generate("cuda").env("MENO_EMULATOR_LOSE_AFTER", "50"));
    assert!(text.contains("cuda:0: cuLaunchKernel failed"), "{text}");
    // The second of two cards.
    succeeds(card.generate("cuda:1").env("MENO_EMULATOR_DEVICES", "2"));
}

/// A server whose card is lost must not go on answering 503 forever: a supervisor restarts what ends.
#[test]
fn a_server_whose_card_is_lost_ends_with_the_error() {
    let Some(card) = Card::new() else { return };
    let mut serve = card.meno();
    serve.arg("serve").arg("-m").arg(card.path("model")).args(["--device", "cuda", "--port", "0", "--parallel", "1"]);
    // Loading takes fewer launches, an answer more.
    serve.env("MENO_EMULATOR_LOSE_AFTER", "400").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut server = serve.spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find(|line| line.contains("is served at")).expect("it starts");
    let address = line.split("http://").nth(1).unwrap().trim().to_owned();
    let body = r#"{"prompt": "12+34=", "max_tokens": 50}"#;
    let mut stream = TcpStream::connect(&address).unwrap();
    let head = format!("POST /v1/completions HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n");
    write!(stream, "{head}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 500"), "{response}");
    let output = server.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("error: cuda:0: "), "{text}");
}

#[test]
fn memory_that_runs_out_names_the_setting_to_lower() {
    let Some(card) = Card::new() else { return };
    let text = fails(card.pretrain("large", "cuda", &[]).env("MENO_EMULATOR_MEMORY", "5000000"));
    assert!(text.contains("out of memory") && text.contains("train.max_tokens"), "{text}");
}

#[test]
fn doctor_shows_the_card() {
    let Some(card) = Card::new() else { return };
    let output = card.meno().args(["doctor", "--quick", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["gpu"]["found"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(report["gpu"]["cuda:0"]["compute"], serde_json::json!([9, 0]), "{report}");
}
