//! `meno eval` through the binary: recipe and flags, strict keys, a dry run, and a killed run that ends with
//! the same result.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

#[path = "common/signals.rs"]
mod signals;
#[path = "common/tiny.rs"]
mod tiny;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A directory with a random model of the tiny recipes, questions, and a recipe that evaluates the model on them.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        let model = place.path("model");
        tiny::save_model(&model);
        let questions: Vec<String> =
            (0..60).map(|i| format!("{{\"question\":\"{i}+1?\",\"answer\":\"{}\"}}", i + 1)).collect();
        std::fs::write(place.path("q.jsonl"), questions.join("\n")).unwrap();
        let recipe = format!(
            "[model]\npath = {:?}\n[task]\nname = {:?}\nprompt = \"plain\"\n\
             [eval]\nnum_samples = 3\ntemperature = 1.0\ntop_p = 1.0\nmax_completion_length = 40\nmax_sequences = 8\n",
            model.display().to_string(),
            place.path("q.jsonl").display().to_string()
        );
        std::fs::write(place.path("eval.toml"), recipe).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = signals::meno();
        command.arg("eval").arg(self.path("eval.toml")).args(args).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Asserts that a run with `args` is rejected with a message that contains `expected`.
    fn refused(&self, args: &[&str], expected: &str) {
        let output = self.run(args);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {message}");
        assert!(message.contains(expected), "{args:?}: {message}");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn recipe_flags_and_set_say_the_same() {
    let place = Place::new();
    let dry = |args: &[&str]| {
        let output = place.run(&[args, &["--dry-run"]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        // The time is measured, so it differs on every run.
        let shown = text(&output.stdout);
        let (shown, time) = shown.split_once("# Time\n").unwrap();
        assert!(time.contains("in total, estimated"), "{time}");
        shown.to_owned()
    };
    let plain = dry(&[]);
    assert!(plain.contains("num_samples = 3") && plain.contains("prompt = \"plain\""), "{plain}");
    assert!(plain.contains("# Memory") && plain.contains("KV cache"), "{plain}");
    let (flags, sets) =
        (dry(&["-k", "5", "--temperature", "0"]), dry(&["--set", "eval.num_samples=5", "--set", "eval.temperature=0"]));
    assert!(flags.contains("num_samples = 5") && flags.contains("temperature = 0.0"), "{flags}");
    assert_eq!(flags, sets);
}

#[test]
fn mistakes_are_named() {
    let place = Place::new();
    place.refused(&["--set", "eval.num_sampels=5"], "did you mean `num_samples`?");
    place.refused(&["--precision", "f16"], "f16");
    place.refused(&["-k", "0"], "num_samples");
    place.refused(&["--resume"], "--out");
    place.refused(&["--task", "nothing"], "nothing");
    std::fs::write(place.path("code.jsonl"), r#"{"question":"q","test_list":["assert f() == 1"]}"#).unwrap();
    place.refused(&["--task", &place.path("code.jsonl").display().to_string()], "--sandbox");
    let recipe = std::fs::read_to_string(place.path("eval.toml")).unwrap();
    std::fs::write(place.path("eval.toml"), recipe + "topp = 0.5\n").unwrap();
    place.refused(&[], "unknown key `topp`; did you mean `top_p`?");
}

#[test]
fn a_kill_changes_nothing() {
    let place = Place::new();
    let (whole, killed) = (place.path("whole.jsonl"), place.path("killed.jsonl"));
    let (whole_name, killed_name) = (whole.display().to_string(), killed.display().to_string());
    let start = Instant::now();
    let once = place.run(&["--out", &whole_name, "--json"]);
    assert!(once.status.success(), "{}", text(&once.stderr));
    let took = start.elapsed();
    let mut kills = 0;
    let last = loop {
        let mut command = place.command(&["--out", &killed_name, "--json", "--resume"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The deadline grows with every kill, so the run ends eventually.
        let deadline = Instant::now() + took.mul_f64(0.3 + 0.2 * f64::from(kills));
        while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        if child.try_wait().unwrap().is_some() {
            break child.wait_with_output().unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    };
    assert!(last.status.success(), "{}", text(&last.stderr));
    assert!(kills > 0, "nothing was killed, so nothing was shown");
    assert_eq!(text(&once.stdout), text(&last.stdout));
    assert!(std::fs::read(&whole).unwrap() == std::fs::read(&killed).unwrap(), "the files differ after {kills} kills");
    // An incomplete line is written again; existing output is not overwritten; another evaluation is rejected.
    let bytes = std::fs::read(&whole).unwrap();
    std::fs::write(&killed, &bytes[..bytes.len() - 10]).unwrap();
    assert!(place.run(&["--out", &killed_name, "--resume"]).status.success());
    assert!(bytes == std::fs::read(&killed).unwrap());
    place.refused(&["--out", &killed_name], "--resume, overwrite it with --force");
    let questions = place.path("q.jsonl").display().to_string();
    place.refused(&["--out", &questions, "--force"], "is the input");
    place.refused(&["--out", &killed_name, "--resume", "--seed", "9"], "another evaluation");
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_is_answered() {
    let place = Place::new();
    let (whole, stopped) = (place.path("whole.jsonl"), place.path("stopped.jsonl"));
    assert!(place.run(&["--out", &whole.display().to_string()]).status.success());
    let name = stopped.display().to_string();
    let (mut attempts, mut stops) = (0, 0);
    loop {
        let mut command = place.command(&["--out", &name, "--resume"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let before = std::fs::metadata(&stopped).map_or(0, |m| m.len());
        // Covers the range from the first moments of a run to a run that ends before the signal, on machines
        // of any speed.
        std::thread::sleep(Duration::from_millis(20 + 20 * attempts));
        attempts += 1;
        if child.try_wait().unwrap().is_none() {
            assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        }
        let output = child.wait_with_output().unwrap();
        let said = text(&output.stderr);
        match output.status.code() {
            Some(0) => break,
            Some(130) => {
                assert!(
                    said.contains("continue with the same command and --resume") && said.contains("stopped.jsonl"),
                    "{said}"
                );
                assert!(std::fs::metadata(&stopped).unwrap().len() >= before);
                stops += 1;
            }
            // The signal arrived before the run handled signals.
            other => assert_eq!(other, None, "{said}"),
        }
    }
    assert!(stops > 0, "nothing was stopped, so nothing was shown");
    assert!(std::fs::read(&whole).unwrap() == std::fs::read(&stopped).unwrap(), "the files differ after {stops} stops");
}
