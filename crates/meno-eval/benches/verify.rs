//! Measures verifications per second on the test cases. `dev/reference/math_verify_speed.py` measures Math-Verify on
//! the same files.

#![allow(clippy::unwrap_used)] // a benchmark may fail by panicking

use meno_eval::verify::math::judge;
use std::hint::black_box;
use std::time::{Duration, Instant};

fn main() {
    for (name, text) in [
        ("math.jsonl", include_str!("../tests/data/math.jsonl")),
        ("math_verify.jsonl", include_str!("../tests/data/math_verify.jsonl")),
    ] {
        let cases: Vec<(String, String)> = text
            .lines()
            .map(|line| {
                let case: serde_json::Value = serde_json::from_str(line).unwrap();
                (case["gold"].as_str().unwrap().to_owned(), case["response"].as_str().unwrap().to_owned())
            })
            .collect();
        let mut rounds: Vec<Duration> = (0..9)
            .map(|_| {
                let start = Instant::now();
                for (gold, response) in &cases {
                    black_box(judge(gold, response, false));
                }
                start.elapsed()
            })
            .collect();
        rounds.sort_unstable();
        let median = rounds[rounds.len() / 2].as_secs_f64();
        println!("{name}: {:.0} verifications/s (median of {} rounds)", cases.len() as f64 / median, rounds.len());
    }
}
