//! `meno replicate` through the binary: every stage, killed and resumed, ends with bit-identical results.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The smoke preset, made even smaller: all stages with a few steps each.
fn recipe(dir: &Path) -> String {
    let text = include_str!("../../meno-replicate/presets/smoke.toml")
        .replace("max_steps = 120", "max_steps = 12")
        .replace("max_steps = 60", "max_steps = 8")
        .replace("tokens_per_step = 2048", "tokens_per_step = 512")
        .replace("num_questions = 40", "num_questions = 6")
        .replace("problems = 40", "problems = 6")
        .replace("forced_problems = 10", "forced_problems = 2")
        .replace("max_completion_length = 240", "max_completion_length = 24")
        .replace("max_completion_length = 280", "max_completion_length = 24");
    let path = dir.join("recipe.toml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn meno(recipe: &str, out: &Path) -> Command {
    let mut c = Command::new(env!("CARGO_BIN_EXE_meno"));
    c.args(["replicate", "--plain", "--seed", "3", "--threads", "2", "--preset", recipe, "--out"]).arg(out);
    c.stdout(Stdio::piped()).stderr(Stdio::null());
    c
}

/// A run this short cuts off every answer: its stages warn, and the user must see the warnings.
#[track_caller]
fn warnings_are_shown(run: &Path, said: &str) {
    let metrics = std::fs::read_to_string(run.join("r1-zero/metrics.jsonl")).unwrap();
    let lines = metrics.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
    let warnings: Vec<String> = lines
        .flat_map(|l| l["warnings"].as_array().cloned().unwrap_or_default())
        .map(|w| w.as_str().unwrap().to_owned())
        .collect();
    assert!(!warnings.is_empty(), "{metrics}");
    assert!(warnings.iter().all(|w| said.contains(w)), "{warnings:#?} are not all in: {said}");
}

/// `meno report` produces the same files from the directory of a run, and names what is missing.
#[track_caller]
fn made_again(run: &Path, out: &Path) {
    let report = |run: &Path| {
        let mut c = Command::new(env!("CARGO_BIN_EXE_meno"));
        c.arg("report").arg(run).arg("--out").arg(out).output().unwrap()
    };
    let output = report(run);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |dir: &Path, file: &str| std::fs::read_to_string(dir.join(file)).unwrap();
    for file in ["report.html", "report-card.svg"] {
        assert!(read(run, file) == read(out, file), "{file} differs");
    }
    // Numbers that were stored in a file may differ in their last bit.
    let json = |dir: &Path| serde_json::from_str::<serde_json::Value>(&read(dir, "report.json")).unwrap();
    let (a, b) = (json(run), json(out));
    for key in ["command", "commit", "date", "seed", "preset"] {
        assert_eq!(a[key], b[key], "{key}");
    }
    let measured = |v: &serde_json::Value| {
        v["claims"].as_array().unwrap().iter().map(|c| c["measured"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(measured(&a), measured(&b));
    let stage = run.join("r1/stage.json");
    let kept = std::fs::read(&stage).unwrap();
    let fails = |why: &str| {
        let output = report(run);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(why), "{said}");
    };
    std::fs::copy(run.join("distill/stage.json"), &stage).unwrap();
    fails("is the record of the stage `distill`");
    std::fs::write(&stage, "{").unwrap();
    fails("r1/stage.json");
    std::fs::remove_file(&stage).unwrap();
    fails("is not finished");
    std::fs::write(&stage, kept).unwrap();
    assert_eq!(report(&run.join("r1")).status.code(), Some(1));
}

#[test]
fn a_killed_replication_goes_on_and_ends_with_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = recipe(dir.path());
    let (whole, pieces) = (dir.path().join("whole"), dir.path().join("pieces"));
    let output = meno(&recipe, &whole).stderr(Stdio::piped()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    warnings_are_shown(&whole, &format!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    assert!(output.status.success(), "{text}");
    assert!(text.contains("Talk to the result: meno chat -m "), "{text}");

    let mut kills = 0;
    let mut patience = Duration::from_millis(400);
    loop {
        let mut child = meno(&recipe, &pieces).spawn().unwrap();
        std::thread::sleep(patience);
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        patience = patience * 3 / 2;
    }
    assert!(kills > 0, "the run was over before it could be killed");
    for stage in ["base", "r1-zero", "r1", "distill", "student-rl"] {
        let weights = |run: &Path| std::fs::read(run.join(stage).join("model.safetensors")).unwrap();
        assert!(weights(&whole) == weights(&pieces), "{stage} differs after {kills} kills");
    }
    let json = |run: &Path| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(run.join("report.json")).unwrap()).unwrap()
    };
    let (a, b) = (json(&whole), json(&pieces));
    for key in ["base", "zero", "r1", "distill", "student_rl"] {
        assert_eq!(a[key]["pass1"], b[key]["pass1"], "{key}");
        assert_eq!(a[key]["length"], b[key]["length"], "{key}");
    }
    assert_eq!(a["max_logprob_gap"], 0.0);
    assert!(a["zero"]["length_ratio"].is_number() && a["minutes"].is_number());
    let html = std::fs::read_to_string(whole.join("report.html")).unwrap();
    assert!(html.contains("</html>") && !html.contains(" src="), "the report stands alone");
    // TensorBoard's files contain every step exactly once, regardless of kills.
    for stage in ["base", "r1-zero", "student-rl"] {
        let steps = |run: &Path| meno_train::tensorboard::steps(&run.join(stage)).unwrap();
        let metrics = std::fs::read_to_string(whole.join(stage).join("metrics.jsonl")).unwrap();
        let expected: Vec<u64> = (1..=metrics.lines().count() as u64).collect();
        assert_eq!((steps(&whole), steps(&pieces)), (expected.clone(), expected), "{stage}");
    }
    made_again(&whole, &dir.path().join("again"));

    // The report states its origin, and that so small a run is not meaningful.
    let command = a["command"].as_str().unwrap();
    assert!(
        command.starts_with("meno replicate --plain --seed 3 --threads 2 --preset ") && command.ends_with("/whole")
    );
    assert_eq!(a["preset"], recipe.as_str());
    assert_eq!(a["version"], env!("CARGO_PKG_VERSION"));
    for key in ["commit", "cpu", "kernels", "date"] {
        let value = a[key].as_str().unwrap();
        assert!(!value.is_empty() && html.contains(value), "{key}: {value}");
    }
    assert!(a["date"].as_str().unwrap().starts_with("20"));
    assert_eq!(a["smoke"], true);
    assert!(text.contains("its figures mean nothing") && html.contains("its figures mean nothing"), "{text}");
    // A network with so few steps has no right answers, so nothing can be concluded.
    for claim in a["claims"].as_array().unwrap() {
        assert_eq!(claim["verdict"], "undecided", "{claim}");
    }

    // A directory holds one run.
    let other = Command::new(env!("CARGO_BIN_EXE_meno"))
        .args(["replicate", "--plain", "--seed", "4", "--preset", &recipe, "--out"])
        .arg(&whole)
        .output()
        .unwrap();
    assert_eq!(other.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&other.stderr).contains("a run that was started with seed 3"));
}
