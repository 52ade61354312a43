//! The stages in sequence through the binary: a base model, rejection sampling of its right answers, and a
//! student trained on them.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

#[path = "common/signals.rs"]
mod signals;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A directory with a corpus and questions that a small network memorizes in seconds.
struct Place(tempfile::TempDir);

/// Half of the documents are right and half are wrong, so that there is something to reject.
const RIGHT: &str = "2+3=?<think>3 and 2</think><answer>5</answer>";
const WRONG: &str = "2+3=?<think>hm</think><answer>6</answer>";

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        let line = |text: &str| serde_json::json!({ "text": text }).to_string();
        let corpus: Vec<String> = (0..64).map(|i| line(if i % 2 == 0 { RIGHT } else { WRONG })).collect();
        std::fs::write(place.path("corpus.jsonl"), corpus.join("\n")).unwrap();
        std::fs::write(place.path("q.jsonl"), r#"{"question":"2+3=?","answer":"5"}"#).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `meno VERB` on a tiny recipe with these values changed; `@name` is a path in this directory.
    fn meno(&self, verb: &str, recipe: &str, out: &str, sets: &[&str], more: &[&str]) -> String {
        let output = self.command(verb, recipe, out, sets, more).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{verb}: {text}");
        text
    }

    fn command(&self, verb: &str, recipe: &str, out: &str, sets: &[&str], more: &[&str]) -> Command {
        let mut command = signals::meno();
        command.arg(verb).arg(root().join("recipes/tiny").join(recipe)).arg("--plain").args(more);
        command.arg("--set").arg(format!("run.output_dir={:?}", self.path(out).display().to_string()));
        for set in sets {
            let (key, value) = set.split_once('=').unwrap();
            let value = value.strip_prefix('@').map_or(value.to_owned(), |name| self.path(name).display().to_string());
            command.args(["--set", &format!("{key}={value}")]);
        }
        command.current_dir(root()).stdin(Stdio::null());
        command
    }

    fn lines(&self, name: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }

    fn base(&self) {
        let files = format!("data.files=[{:?}]", self.path("corpus.jsonl").display().to_string());
        let sets = ["train.max_steps=60", "train.max_tokens=256", "pretrain.tokens_per_step=512", &files];
        self.meno("pretrain", "pretrain.toml", "base", &sets, &[]);
    }
}

#[test]
fn sample_keeps_what_is_right_and_distill_teaches_it() {
    let place = Place::new();
    place.base();
    let asked =
        ["task.name=@q.jsonl", "sample.num_questions=6", "sample.num_generations=48", "sample.keep_per_question=8"];
    let sets = [&asked[..], &["model.path=@base", "sample.min_language_consistency=0"]].concat();
    let said = place.meno("sample", "3-rejection-sampling.toml", "kept", &sets, &[]);
    assert!(said.contains("of 48 answers"), "{said}");
    assert!(said.contains("sample.num_questions = 6 asks for more questions than the task has (1 from"), "{said}");
    let traces = place.lines("kept/traces.jsonl");
    assert!(!traces.is_empty(), "{said}");
    for t in &traces {
        assert!(t["prompt"] == "2+3=?" && t["answer"] == "5", "{t}");
        assert!(t["completion"].as_str().unwrap().contains("<answer>5</answer>"), "{t}");
    }
    // A second run has nothing left to do and keeps the existing results.
    let again = place.meno("sample", "3-rejection-sampling.toml", "kept", &sets, &["--resume"]);
    assert!(again.contains("all 1 questions are done"), "{again}");
    assert_eq!(place.lines("kept/traces.jsonl"), traces);

    // One student learns from the traces, one from the teacher itself. Both answer correctly; the teacher
    // does so half of the time.
    let lessons = ["train.max_tokens=256", "sft.train_batch_size=4", "sft.num_train_epochs=200"];
    let teacher = [&asked[..], &lessons, &["distill.teacher=@base"]].concat();
    place.meno("distill", "distill.toml", "from-teacher", &teacher, &[]);
    // The recipe names a teacher; only a custom file can omit it.
    let recipe = std::fs::read_to_string(root().join("recipes/tiny/distill.toml")).unwrap();
    let traces = format!("traces = {:?}", place.path("kept").display().to_string());
    let own = place.path("own.toml");
    std::fs::write(&own, recipe.replace("teacher = \"runs/tiny/r1\"", &traces)).unwrap();
    place.meno("distill", own.to_str().unwrap(), "from-traces", &lessons, &[]);
    for student in ["from-teacher", "from-traces"] {
        let loss = |line: &Value| line["loss"].as_f64().unwrap();
        let metrics = place.lines(&format!("{student}/metrics.jsonl"));
        assert!(loss(metrics.last().unwrap()) < 0.3 * loss(&metrics[0]), "{student}: {:?}", metrics.last());
        let out = signals::meno()
            .args(["eval", "-m"])
            .arg(place.path(student))
            .arg("--task")
            .arg(place.path("q.jsonl"))
            .args([
                "--prompt",
                "plain",
                "-k",
                "16",
                "--temperature",
                "1",
                "--top-p",
                "1",
                "--max-tokens",
                "64",
                "--json",
            ])
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let figures: Value = serde_json::from_slice(&out.stdout).unwrap();
        assert!(figures["pass1"]["mean"].as_f64().unwrap() > 0.8, "{student}: {figures}");
    }
}

/// The traces of a run, and its final output.
fn sampled(place: &Place, out: &str, questions: usize, more: &[&str]) -> (Vec<Value>, String) {
    let questions = format!("sample.num_questions={questions}");
    let sets = ["task.name=@q.jsonl", &questions, "sample.num_generations=16", "sample.keep_per_question=2"];
    let sets = [&sets[..], &["model.path=@base", "sample.min_language_consistency=0"]].concat();
    let said = place.meno("sample", "3-rejection-sampling.toml", out, &sets, more);
    (place.lines(&format!("{out}/traces.jsonl")), said)
}

#[test]
fn what_is_kept_is_kept_over_a_resumption_too() {
    let place = Place::new();
    place.base();
    // The same question three times, which can happen unnoticed in a dataset.
    let line = r#"{"question":"2+3=?","answer":"5"}"#;
    std::fs::write(place.path("q.jsonl"), [line, line, r#"{"question":"2+3=? ","answer":"5"}"#].join("\n")).unwrap();
    let (whole, said) = sampled(&place, "whole", 3, &[]);
    let of = |question: &str| whole.iter().filter(|t| t["question"] == question).count();
    assert!((1..=2).contains(&of("2+3=?")), "at most keep_per_question of the question listed twice: {whole:?}");
    let texts = |t: &Value| format!("{} {}", t["question"], t["completion"].as_str().unwrap().trim());
    let different: std::collections::HashSet<String> = whole.iter().map(texts).collect();
    assert_eq!(different.len(), whole.len(), "{whole:?}");
    // The same in three runs of one question each, with the same tally of all answers.
    sampled(&place, "parts", 1, &[]);
    sampled(&place, "parts", 2, &["--resume"]);
    let (parts, end) = sampled(&place, "parts", 3, &["--resume"]);
    assert_eq!(parts, whole);
    let tally =
        |said: &str| said.lines().find(|l| l.starts_with("kept ")).unwrap().rsplit_once(": ").unwrap().0.to_owned();
    assert_eq!(tally(&end), tally(&said));
    assert!(end.contains("of 48 answers"), "{end}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_the_questions_that_are_answered() {
    let place = Place::new();
    place.base();
    let questions: Vec<String> =
        (0..48).map(|i| format!(r#"{{"question":"2+3=?{}","answer":"5"}}"#, " ".repeat(i % 3))).collect();
    std::fs::write(place.path("q.jsonl"), questions.join("\n")).unwrap();
    let sets = ["task.name=@q.jsonl", "sample.num_questions=48", "sample.num_generations=8", "model.path=@base"];
    let sets = [&sets[..], &["sample.min_language_consistency=0", "sample.keep_per_question=40"]].concat();
    let recipe = "3-rejection-sampling.toml";
    let whole = place.meno("sample", recipe, "whole", &sets, &[]);
    let (mut attempts, mut stops) = (0, 0);
    let end = loop {
        let mut command = place.command("sample", recipe, "stopped", &sets, &["--resume"]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        // Covers the range from the first moments of a run to a run that ends before the signal, on machines
        // of any speed.
        std::thread::sleep(std::time::Duration::from_millis(20 + 20 * attempts));
        attempts += 1;
        if child.try_wait().unwrap().is_none() {
            assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(0) => break said,
            Some(130) => {
                assert!(said.contains(" of 48; what was kept is in "), "{said}");
                stops += 1;
            }
            // The signal arrived before the run handled signals.
            other => assert_eq!(other, None, "{said}"),
        }
    };
    assert!(stops > 0, "nothing was stopped, so nothing was shown");
    assert_eq!(place.lines("stopped/traces.jsonl"), place.lines("whole/traces.jsonl"));
    let tally =
        |said: &str| said.lines().find(|l| l.starts_with("kept ")).map(|l| l.rsplit_once(": ").unwrap().0.to_owned());
    // A run that stopped after the last question but before its tally has nothing left to report.
    assert!(tally(&end).is_none_or(|end| Some(end) == tally(&whole)), "{end}");
}
