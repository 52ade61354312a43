//! Figures for Prometheus: what the server counts, and the text that `/metrics` answers.

use crate::lock::lock;
use meno_engine::engine::{EngineStats, Histogram};
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A distribution of times, in the buckets that Prometheus adds up.
#[derive(Debug, Default)]
pub struct Times(Mutex<Histogram>);

impl Times {
    /// Counts a time.
    pub fn observe(&self, time: Duration) {
        lock(&self.0).add(time.as_secs_f64());
    }

    /// The mean in seconds, if there is one.
    pub fn mean(&self) -> Option<f64> {
        let h = lock(&self.0);
        (h.count() > 0).then(|| h.sum / h.count() as f64)
    }

    fn write(&self, out: &mut String, name: &str, help: &str) {
        histogram(out, name, help, &lock(&self.0));
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a whole answer.
    Done,
    /// At the limit of tokens.
    Length,
    /// The client went away.
    Gone,
    /// It took too long.
    Timeout,
    /// Refused: the queue was full.
    Busy,
    /// Refused: it made no sense.
    Invalid,
    /// Our mistake.
    Failed,
}

const OUTCOMES: [(Outcome, &str); 7] = [
    (Outcome::Done, "done"),
    (Outcome::Length, "length"),
    (Outcome::Gone, "gone"),
    (Outcome::Timeout, "timeout"),
    (Outcome::Busy, "busy"),
    (Outcome::Invalid, "invalid"),
    (Outcome::Failed, "failed"),
];

/// What the server counts.
#[derive(Debug, Default)]
pub struct Metrics {
    outcomes: [AtomicU64; OUTCOMES.len()],
    /// From the request to the end of the answer.
    pub whole: Times,
    /// Tokens of prompts.
    pub prompt_tokens: AtomicU64,
    /// Of them, those that were in the cache.
    pub cached_tokens: AtomicU64,
    /// Tokens written.
    pub tokens: AtomicU64,
    /// Of them, those of thoughts.
    pub reasoning_tokens: AtomicU64,
    /// Thoughts ended at their budget.
    pub budget_cuts: AtomicU64,
    /// Thoughts ended because they went in circles.
    pub loop_cuts: AtomicU64,
}

impl Metrics {
    /// Counts the end of a request.
    pub fn ended(&self, outcome: Outcome) {
        let i = OUTCOMES.iter().position(|o| o.0 == outcome).expect("invariant: every outcome is listed");
        self.outcomes[i].fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests ended so.
    pub fn count(&self, outcome: Outcome) -> u64 {
        let i = OUTCOMES.iter().position(|o| o.0 == outcome).expect("invariant: every outcome is listed");
        self.outcomes[i].load(Ordering::Relaxed)
    }

    /// The text for Prometheus.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let name = "meno_requests_total";
        header(&mut out, name, "Requests for text, by how they ended.", "counter");
        for ((_, outcome), count) in OUTCOMES.iter().zip(&self.outcomes) {
            let _ = writeln!(out, "{name}{{outcome=\"{outcome}\"}} {}", count.load(Ordering::Relaxed));
        }
        let counters = [
            ("meno_prompt_tokens_total", "Tokens of prompts.", &self.prompt_tokens),
            ("meno_prompt_tokens_cached_total", "Tokens of prompts that were in the cache.", &self.cached_tokens),
            ("meno_generated_tokens_total", "Tokens sent to clients.", &self.tokens),
            ("meno_reasoning_tokens_total", "Tokens of thoughts sent to clients.", &self.reasoning_tokens),
            ("meno_thoughts_cut_by_budget_total", "Thoughts ended at their budget.", &self.budget_cuts),
            ("meno_thoughts_cut_by_loop_total", "Thoughts ended because they went in circles.", &self.loop_cuts),
        ];
        for (name, help, value) in counters {
            counter(&mut out, name, help, value.load(Ordering::Relaxed));
        }
        self.whole.write(&mut out, "meno_request_seconds", "From the request to the end of the answer.");
        out
    }
}

/// What the engine tells of itself, as text for Prometheus.
pub fn engine_text(stats: &EngineStats) -> String {
    let mut out = String::new();
    let totals = stats.totals;
    let counters = [
        ("meno_engine_steps_total", "Steps of the network.", totals.steps as u64),
        ("meno_engine_prompt_tokens_total", "Prompt tokens that were run.", totals.prompt_tokens as u64),
        ("meno_engine_prefix_hit_tokens_total", "Prompt tokens found in the cache.", totals.cached_tokens as u64),
        ("meno_engine_generated_tokens_total", "Tokens written.", totals.tokens as u64),
        ("meno_engine_drafted_tokens_total", "Tokens guessed ahead.", totals.drafted as u64),
        ("meno_engine_accepted_tokens_total", "Guesses that were right.", totals.accepted as u64),
        ("meno_engine_requests_total", "Requests taken.", stats.requests),
        ("meno_engine_refused_total", "Requests refused because too many waited.", stats.refused),
    ];
    for (name, help, value) in counters {
        counter(&mut out, name, help, value);
    }
    let (used, all) = stats.cache_pages;
    let gauges = [
        ("meno_queue_length", "Answers waiting for a place.", stats.waiting as f64),
        ("meno_running", "Answers being written.", stats.running as f64),
        (
            "meno_kv_cache_usage_ratio",
            "Part of the cache in use, kept prefixes included.",
            used as f64 / all.max(1) as f64,
        ),
    ];
    for (name, help, value) in gauges {
        header(&mut out, name, help, "gauge");
        let _ = writeln!(out, "{name} {value}");
    }
    let first = "From the arrival of a request in the engine to its first token.";
    histogram(&mut out, "meno_time_to_first_token_seconds", first, &stats.time_to_first_token);
    let between = "Between two tokens of an answer.";
    histogram(&mut out, "meno_time_between_tokens_seconds", between, &stats.time_between_tokens);
    out
}

fn counter(out: &mut String, name: &str, help: &str, value: u64) {
    header(out, name, help, "counter");
    let _ = writeln!(out, "{name} {value}");
}

fn histogram(out: &mut String, name: &str, help: &str, h: &Histogram) {
    header(out, name, help, "histogram");
    let mut total = 0;
    for (i, count) in h.counts.iter().enumerate() {
        total += count;
        let bound = Histogram::bounds().get(i).map_or("+Inf".to_owned(), |b| b.to_string());
        let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {total}");
    }
    let _ = writeln!(out, "{name}_sum {}\n{name}_count {total}", h.sum);
}

fn header(out: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up() {
        let m = Metrics::default();
        for ms in [5, 20, 21, 700_000] {
            m.whole.observe(Duration::from_millis(ms));
        }
        m.ended(Outcome::Busy);
        let text = m.text();
        let value = |start: &str| text.lines().find_map(|l| l.strip_prefix(start)).unwrap().trim().to_owned();
        assert_eq!(value("meno_request_seconds_bucket{le=\"0.02\"}"), "2");
        assert_eq!(value("meno_request_seconds_bucket{le=\"0.03\"}"), "3");
        assert_eq!(value("meno_request_seconds_bucket{le=\"+Inf\"}"), "4");
        assert_eq!(value("meno_request_seconds_sum"), "700.046");
        assert_eq!(value("meno_requests_total{outcome=\"busy\"}"), "1");
    }
}
