//! A run that is killed at any moment and resumed ends with results that are bit-identical to those of a run
//! that was never killed.
//!
//! The tests use the real binary and the tiny recipes with a smaller network. They send SIGKILL after random
//! times until a run reaches its end.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

mod damaged;
#[path = "../common/signals.rs"]
mod signals;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A network smaller than that of the tiny recipes, with their tokenizer.
fn small_model(dir: &Path) -> PathBuf {
    let model = dir.join("model");
    std::fs::create_dir_all(&model).unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(root().join("recipes/tiny/model").join(name), model.join(name)).unwrap();
    }
    let config = std::fs::read_to_string(root().join("recipes/tiny/model/config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    for (key, value) in [("hidden_size", 32), ("num_hidden_layers", 2), ("moe_intermediate_size", 16)] {
        config[key] = value.into();
    }
    std::fs::write(model.join("config.json"), config.to_string()).unwrap();
    model
}

struct Stage {
    verb: &'static str,
    recipe: &'static str,
    sets: Vec<String>,
}

impl Stage {
    fn command(&self, out: &Path, resume: bool) -> Command {
        let mut command = signals::meno();
        command.arg(self.verb).arg(root().join("recipes/tiny").join(self.recipe)).arg("--plain").current_dir(root());
        for set in self.sets.iter().chain([&format!("run.output_dir={:?}", out.display().to_string())]) {
            command.args(["--set", set]);
        }
        if resume {
            command.arg("--resume");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn start(&self, out: &Path, resume: bool) -> Child {
        self.command(out, resume).spawn().unwrap()
    }

    /// Runs to the end without a kill; returns the duration.
    fn run(&self, out: &Path) -> Duration {
        let start = Instant::now();
        let output = self.start(out, false).wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        start.elapsed()
    }

    /// Runs to the end with repeated stops by Ctrl-C or `kill`; returns their number. Only what these stops
    /// save is available for resuming.
    fn run_stopped(&self, out: &Path, whole: Duration, seed: u64) -> usize {
        let mut rng = meno::tensor::rng::Rng::new(&[seed]);
        let (mut stops, mut patience) = (0, 0.5);
        loop {
            let mut child = self.start(out, true);
            let deadline = Instant::now() + whole.mul_f64(patience * rng.uniform_f64());
            while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(3));
            }
            let (signal, code) = [("-INT", 130), ("-TERM", 143)][stops % 2];
            // Two signals within a moment, as `timeout` and some schedulers send them, count as one.
            for _ in 0..2 {
                let _ = Command::new("kill").args([signal, &child.id().to_string()]).output();
            }
            let output = child.wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr);
            match output.status.code() {
                // The run was faster than the timed one.
                Some(0) if stops == 0 => {
                    std::fs::remove_dir_all(out).unwrap();
                    patience *= 0.5;
                    continue;
                }
                Some(0) => return stops,
                // Before there is anything to save, a signal ends the process as usual.
                None => {}
                other => {
                    assert_eq!(other, Some(code), "{text}");
                    assert!(text.contains("stopped "), "{text}");
                }
            }
            stops += 1;
            patience *= 1.1;
        }
    }

    /// Runs to the end with repeated kills after random times; returns their number.
    fn run_killed(&self, out: &Path, whole: Duration, seed: u64) -> usize {
        let mut rng = meno::tensor::rng::Rng::new(&[seed]);
        let mut kills = 0;
        let mut patience = 0.6;
        loop {
            let mut child = self.start(out, true);
            let deadline = Instant::now() + whole.mul_f64(patience * rng.uniform_f64());
            while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(3));
            }
            if child.try_wait().unwrap().is_some() {
                let output = child.wait_with_output().unwrap();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                return kills;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
            // Runs that are killed before their first checkpoint make no progress, so the time grows with every kill.
            patience *= 1.15;
        }
    }
}

/// Weights, optimizer state, and metrics without times.
fn results(out: &Path) -> (Vec<u8>, Vec<u8>, String) {
    let read = |name: &str| std::fs::read(out.join(name)).unwrap();
    let last = std::fs::read_dir(out)
        .unwrap()
        .filter_map(|e| e.unwrap().file_name().to_str()?.strip_prefix("checkpoint-")?.parse::<usize>().ok())
        .max()
        .unwrap();
    let line = |line: &str| {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        for time in ["step_time", "tokens_per_second"] {
            value.as_object_mut().unwrap().remove(time);
        }
        format!("{value}\n")
    };
    let metrics = String::from_utf8(read("metrics.jsonl")).unwrap().lines().map(line).collect();
    (read("model.safetensors"), read(&format!("checkpoint-{last}/training_state.safetensors")), metrics)
}

fn same_bits_when_killed(mut stage: Stage, seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let (whole, killed, stopped) = (dir.path().join("whole"), dir.path().join("killed"), dir.path().join("stopped"));
    let took = stage.run(&whole);
    let kills = stage.run_killed(&killed, took, seed);
    let (expected, got) = (results(&whole), results(&killed));
    assert!(expected.0 == got.0, "{}: the weights differ after {kills} kills", stage.verb);
    assert!(expected.1 == got.1, "{}: the optimizer differs after {kills} kills", stage.verb);
    assert_eq!(expected.2, got.2, "{}: the metrics differ after {kills} kills", stage.verb);
    assert!(kills > 0, "{}: nothing was killed, so nothing was shown", stage.verb);
    // Stopped instead of killed: no checkpoint is due before the end, so all of them come from the stops.
    stage.sets.push("run.save_steps=0".into());
    let stops = stage.run_stopped(&stopped, took, seed + 100);
    let got = results(&stopped);
    assert!(expected.0 == got.0, "{}: the weights differ after {stops} stops", stage.verb);
    assert!(expected.1 == got.1, "{}: the optimizer differs after {stops} stops", stage.verb);
    assert_eq!(expected.2, got.2, "{}: the metrics differ after {stops} stops", stage.verb);
    assert!(stops > 0, "{}: nothing was stopped, so nothing was shown", stage.verb);
}

fn set(sets: &[&str], model: &Path) -> Vec<String> {
    let tokenizer = format!("model.tokenizer={:?}", model.display().to_string());
    let config = format!("model.config={:?}", model.join("config.json").display().to_string());
    sets.iter().map(|s| s.to_string()).chain([tokenizer, config]).collect()
}

#[test]
fn pretrain() {
    let dir = tempfile::tempdir().unwrap();
    let sets = ["train.max_steps=12", "train.max_tokens=256", "pretrain.tokens_per_step=256", "run.save_steps=2"];
    let sets = set(&sets, &small_model(dir.path()));
    same_bits_when_killed(Stage { verb: "pretrain", recipe: "pretrain.toml", sets }, 1);
}

/// The weights that a stage starts from: those of a base model with a little training.
fn base(dir: &Path) -> PathBuf {
    let base = dir.join("base");
    let sets = ["train.max_steps=3", "train.max_tokens=256", "pretrain.tokens_per_step=256"];
    Stage { verb: "pretrain", recipe: "pretrain.toml", sets: set(&sets, &small_model(dir)) }.run(&base);
    base
}

fn from_base(base: &Path, sets: &[&str]) -> Vec<String> {
    let path = format!("model.path={:?}", base.display().to_string());
    sets.iter().map(|s| s.to_string()).chain([path]).collect()
}

#[test]
fn sft() {
    let dir = tempfile::tempdir().unwrap();
    let sets = [
        "train.max_steps=12",
        "sft.num_train_epochs=0",
        "sft.train_batch_size=4",
        "run.save_steps=3",
        "train.max_tokens=256",
        "run.save_dtype=bf16",
    ];
    let sets = from_base(&base(dir.path()), &sets);
    same_bits_when_killed(Stage { verb: "sft", recipe: "1-cold-start-sft.toml", sets }, 2);
}

#[test]
fn grpo() {
    let dir = tempfile::tempdir().unwrap();
    // Four updates per rollout and a checkpoint after every third update, so some checkpoints fall inside a
    // rollout. The reference model follows the policy, and the repetition penalty makes rewards differ even
    // without a right answer.
    let sets = [
        "train.max_steps=12",
        "run.save_steps=3",
        "grpo.num_questions=4",
        "grpo.num_generations=4",
        "grpo.steps_per_generation=2",
        "grpo.num_iterations=2",
        "grpo.max_completion_length=16",
        "grpo.beta=0.01",
        "grpo.sync_ref_model=true",
        "grpo.ref_model_sync_steps=4",
        "train.max_tokens=256",
        "grpo.reward_funcs=[\"accuracy\", \"repetition_penalty\", \"language_consistency\"]",
        "grpo.reward_weights=[]",
        // Held-out questions in between, and the best model is kept; warnings that no answer is right.
        "eval.eval_steps=2",
        "eval.eval_task=arithmetic",
        "eval.num_problems=4",
        "eval.num_samples=2",
        "eval.load_best_model_at_end=true",
    ];
    let sets = from_base(&base(dir.path()), &sets);
    same_bits_when_killed(Stage { verb: "grpo", recipe: "r1-zero.toml", sets }, 3);
}

fn has_checkpoint(out: &Path) -> bool {
    let mut entries = std::fs::read_dir(out).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_string_lossy().starts_with("checkpoint-"))
}

#[test]
fn ctrl_c_says_how_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let sets = ["train.max_steps=100000", "train.max_tokens=256", "pretrain.tokens_per_step=256", "run.save_steps=1"];
    let stage = Stage { verb: "pretrain", recipe: "pretrain.toml", sets: set(&sets, &small_model(dir.path())) };
    let child = stage.start(&out, false);
    let start = Instant::now();
    // Look for any checkpoint: older ones are replaced by newer ones faster than this loop checks.
    while !has_checkpoint(&out) && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{text}");
    assert!(text.contains("stopped after step") && text.contains("--resume") && text.contains("checkpoint-"), "{text}");
    let again = stage.start(&out, false).wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&again.stderr);
    assert_eq!(again.status.code(), Some(1));
    assert!(text.contains("continue it with --resume"), "a run is not overwritten: {text}");
}

#[test]
fn the_second_ctrl_c_ends_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let sets = ["train.max_steps=100000", "train.max_tokens=256", "pretrain.tokens_per_step=256", "run.save_steps=0"];
    let stage = Stage { verb: "pretrain", recipe: "pretrain.toml", sets: set(&sets, &small_model(dir.path())) };
    // The output goes to a pipe that is not read after the first step, so the run blocks where it would
    // respond to Ctrl-C.
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut filling = writer.try_clone().unwrap();
    let reading = Arc::new(AtomicBool::new(true));
    let read = reading.clone();
    let kept_open = std::thread::spawn(move || {
        while read.load(Ordering::Relaxed) && std::io::Read::read(&mut reader, &mut [0; 4096]).is_ok() {}
        reader
    });
    let mut child = stage.command(&out, false).stderr(writer).spawn().unwrap();
    let start = Instant::now();
    while std::fs::metadata(out.join("metrics.jsonl")).map_or(0, |m| m.len()) == 0 {
        assert!(start.elapsed() < Duration::from_secs(120), "no step was made");
        std::thread::sleep(Duration::from_millis(5));
    }
    reading.store(false, Ordering::Relaxed);
    std::thread::spawn(move || std::io::Write::write_all(&mut filling, &[0; 1 << 20]));
    let reader = kept_open.join().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let id = child.id().to_string();
    let interrupt = || assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    interrupt();
    std::thread::sleep(Duration::from_millis(600));
    assert!(child.try_wait().unwrap().is_none(), "the first only asks");
    interrupt();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!has_checkpoint(&out));
    drop(reader);
}

#[test]
fn mistakes_are_named() {
    let error = |args: &[&str]| {
        let output = signals::meno().args(args).current_dir(root()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let text = error(&["grpo", "recipes/tiny/r1-zero.toml", "--set", "grpo.num_generation=4"]);
    assert!(text.contains("unknown key `num_generation`; did you mean `num_generations`"), "{text}");
    let text = error(&["sft", "no-such.toml"]);
    assert!(text.contains("no-such.toml"), "{text}");
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("bad.jsonl");
    std::fs::write(&data, "{\"text\":\"What is 1+1?2\"}\n{\"text\":\n").unwrap();
    let set = format!("data.files=[{:?}]", data.display().to_string());
    let text = error(&["pretrain", "recipes/tiny/pretrain.toml", "--set", &set]);
    assert!(text.contains("bad.jsonl:2: not JSON"), "{text}");
}
