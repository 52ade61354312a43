//! Responses to programming problems of every published format, and their verdicts.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use meno_eval::Verdict;
use meno_eval::sandbox::{Limits, Sandbox};
use meno_eval::tasks::code::tests_of;
use meno_eval::verify::code::judge;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// Opens a sandbox with this many seconds per run. Tests of right answers get a long limit, so that other load on the
/// machine does not matter.
fn sandbox(seconds: u64) -> Option<Sandbox> {
    let limits = Limits { wall: Duration::from_secs(seconds), cpu_seconds: 2, ..Limits::default() };
    Sandbox::open(Path::new("python3"), limits).inspect_err(|error| eprintln!("skipped: {error}")).ok()
}

#[test]
fn published_forms() {
    let (Some(hasty), Some(patient)) = (sandbox(3), sandbox(60)) else { return };
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs.jsonl")).unwrap();
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let tests = tests_of(&case["question"]).unwrap();
        let sandbox = if case["right"] == true { &patient } else { &hasty };
        let judged = judge(sandbox, case["response"].as_str().unwrap(), &tests, false).unwrap();
        let right = judged.verdict == Verdict::Right;
        assert_eq!(right, case["right"].as_bool().unwrap(), "{}: {}; {}", case["name"], case["why"], judged.reason);
    }
    assert_eq!(text.lines().count(), 54);
}
