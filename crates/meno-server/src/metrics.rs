//! Metrics of the server and the engine in the text format of Prometheus, for `/metrics`.

use crate::lock::lock;
use meno_engine::engine::{EngineStats, Histogram};
use meno_engine::generator::CachePages;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A histogram of durations.
#[derive(Debug, Default)]
pub struct DurationHistogram(Mutex<Histogram>);

impl DurationHistogram {
    /// Adds a duration.
    pub fn observe(&self, time: Duration) {
        lock(&self.0).add(time.as_secs_f64());
    }

    /// The mean in seconds; `None` if nothing was added.
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
    /// With a complete answer.
    Done,
    /// At the token limit.
    Length,
    /// The client disconnected.
    Cancelled,
    /// It exceeded the time limit.
    Timeout,
    /// Rejected: the queue was full or the client had reached its limit.
    Busy,
    /// Rejected: the request was invalid.
    Invalid,
    /// An error in the server.
    Failed,
}

const OUTCOMES: [(Outcome, &str); 7] = [
    (Outcome::Done, "done"),
    (Outcome::Length, "length"),
    (Outcome::Cancelled, "cancelled"),
    (Outcome::Timeout, "timeout"),
    (Outcome::Busy, "busy"),
    (Outcome::Invalid, "invalid"),
    (Outcome::Failed, "failed"),
];

/// The counters of the server.
#[derive(Debug, Default)]
pub struct Metrics {
    outcomes: [AtomicU64; OUTCOMES.len()],
    /// Duration of requests, from arrival to the end of the answer.
    pub request_times: DurationHistogram,
    /// Number of prompt tokens.
    pub prompt_tokens: AtomicU64,
    /// Number of prompt tokens that were found in the cache.
    pub cached_tokens: AtomicU64,
    /// Number of generated tokens.
    pub tokens: AtomicU64,
    /// Number of generated tokens that are thinking.
    pub reasoning_tokens: AtomicU64,
    /// How often thinking was ended at its budget.
    pub budget_stops: AtomicU64,
    /// How often thinking was ended because it repeated itself.
    pub loop_stops: AtomicU64,
}

impl Metrics {
    /// Counts the end of a request.
    pub fn ended(&self, outcome: Outcome) {
        let i = OUTCOMES.iter().position(|o| o.0 == outcome).expect("invariant: every outcome is listed");
        self.outcomes[i].fetch_add(1, Ordering::Relaxed);
    }

    /// The number of requests with this outcome.
    pub fn count(&self, outcome: Outcome) -> u64 {
        let i = OUTCOMES.iter().position(|o| o.0 == outcome).expect("invariant: every outcome is listed");
        self.outcomes[i].load(Ordering::Relaxed)
    }

    /// Returns the metrics as text.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let name = "meno_requests_total";
        header(&mut out, name, "Requests by outcome.", "counter");
        for ((_, outcome), count) in OUTCOMES.iter().zip(&self.outcomes) {
            let _ = writeln!(out, "{name}{{outcome=\"{outcome}\"}} {}", count.load(Ordering::Relaxed));
        }
        let counters = [
            ("meno_prompt_tokens_total", "Prompt tokens.", &self.prompt_tokens),
            ("meno_prompt_tokens_cached_total", "Prompt tokens that were found in the cache.", &self.cached_tokens),
            ("meno_generated_tokens_total", "Tokens sent to clients.", &self.tokens),
            ("meno_reasoning_tokens_total", "Thinking tokens sent to clients.", &self.reasoning_tokens),
            ("meno_thoughts_cut_by_budget_total", "Times that thinking was stopped at its budget.", &self.budget_stops),
            (
                "meno_thoughts_cut_by_loop_total",
                "Times that thinking was stopped because it repeated itself.",
                &self.loop_stops,
            ),
        ];
        for (name, help, value) in counters {
            counter(&mut out, name, help, value.load(Ordering::Relaxed));
        }
        self.request_times.write(&mut out, "meno_request_seconds", "Time from the request to the end of the answer.");
        out
    }
}

/// Returns the metrics of the engine as text.
pub fn engine_text(stats: &EngineStats) -> String {
    let mut out = String::new();
    let totals = stats.totals;
    let counters = [
        ("meno_engine_steps_total", "Forward passes of the network.", totals.steps as u64),
        ("meno_engine_prompt_tokens_total", "Prompt tokens that were computed.", totals.prompt_tokens as u64),
        ("meno_engine_prefix_hit_tokens_total", "Prompt tokens found in the cache.", totals.cached_tokens as u64),
        ("meno_engine_generated_tokens_total", "Generated tokens.", totals.tokens as u64),
        ("meno_engine_drafted_tokens_total", "Tokens drafted by speculative decoding.", totals.drafted as u64),
        ("meno_engine_accepted_tokens_total", "Drafted tokens that were accepted.", totals.accepted as u64),
        ("meno_engine_requests_total", "Accepted requests.", stats.requests),
        ("meno_engine_refused_total", "Requests rejected because the queue was full.", stats.refused),
    ];
    for (name, help, value) in counters {
        counter(&mut out, name, help, value);
    }
    let CachePages { used, total } = stats.cache_pages;
    let gauges = [
        ("meno_queue_length", "Answers waiting for a slot.", stats.waiting as f64),
        ("meno_running", "Answers being generated.", stats.running as f64),
        (
            "meno_kv_cache_usage_ratio",
            "Fraction of the KV cache in use, cached prefixes included.",
            used as f64 / total.max(1) as f64,
        ),
    ];
    for (name, help, value) in gauges {
        header(&mut out, name, help, "gauge");
        let _ = writeln!(out, "{name} {value}");
    }
    let first = "Time from the submission of a request to the engine to its first token.";
    histogram(&mut out, "meno_time_to_first_token_seconds", first, &stats.time_to_first_token);
    let between = "Time between two tokens of an answer.";
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
            m.request_times.observe(Duration::from_millis(ms));
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
