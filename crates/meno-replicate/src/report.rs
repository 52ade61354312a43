//! The report: the paper's claims beside what this run measured, computed, never written in.

mod chart;
mod claims;
mod csv;
mod curves;
mod fit;
mod page;
mod paper;
mod pipeline;
mod rebuild;
mod samples;

pub use claims::{Claim, Verdict};
pub use paper::Place;
pub(super) use rebuild::check;

use super::measure::Measures;
use super::provenance::Provenance;
use super::record::{StageRecord, write_json};
use super::settings::Settings;
use meno_eval::Interval;
use meno_train::error::Error;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Everything a run found out.
#[derive(Clone, Debug)]
pub struct Report {
    /// The recipe.
    pub settings: Settings,
    /// The seed.
    pub seed: u64,
    /// What made it, where and when.
    pub provenance: Provenance,
    /// Its stages.
    pub records: Vec<StageRecord>,
    /// The claims and their verdicts.
    pub claims: Vec<Claim>,
}

/// Fewest problems whose figures mean anything: of 100, an interval is ten points wide to either side.
const MEANINGFUL_PROBLEMS: usize = 100;

/// Names in `report.json` of the stages.
const KEYS: [(&str, &str); 10] = [
    ("base", "base"),
    ("zero", "r1-zero"),
    ("zero_language", "r1-zero-language"),
    ("cold_start", "cold-start"),
    ("reasoning", "reasoning-rl"),
    ("rejection", "rejection-sft"),
    ("r1", "r1"),
    ("student", "student-base"),
    ("distill", "distill"),
    ("student_rl", "student-rl"),
];

impl Report {
    /// The files of a report: all figures, the page, a picture to show.
    pub const FILES: [&str; 3] = ["report.json", "report.html", "report-card.svg"];

    /// Draws the conclusions.
    pub fn new(settings: &Settings, seed: u64, provenance: Provenance, records: Vec<StageRecord>) -> Report {
        let mut report = Report { settings: settings.clone(), seed, provenance, records, claims: Vec::new() };
        report.claims = claims::claims(&report);
        report
    }

    /// The record of a stage.
    ///
    /// # Panics
    /// If there is no such stage: a report is made of finished runs.
    pub fn stage(&self, name: &str) -> &StageRecord {
        self.records.iter().find(|r| r.name == name).expect("invariant: every stage has its record")
    }

    /// The figures of a stage's model.
    ///
    /// # Panics
    /// If the stage made no model.
    pub fn measures(&self, name: &str) -> &Measures {
        self.stage(name).measures.as_ref().expect("invariant: every stage but the tokenizer measures its model")
    }

    /// Mean response length of one stage over that of another.
    pub fn length_ratio(&self, a: &str, b: &str) -> Interval {
        Interval::of_ratio(&self.measures(a).per_problem.length, &self.measures(b).per_problem.length)
    }

    /// pass@1 of one stage less that of another, paired by problem.
    pub fn gain(&self, a: &str, b: &str) -> Interval {
        Interval::of_difference(&self.measures(a).per_problem.pass1, &self.measures(b).per_problem.pass1)
    }

    /// Whether it only shows that every stage runs: figures of so few problems mean nothing.
    pub fn is_smoke(&self) -> bool {
        self.settings.evaluation.problems < MEANINGFUL_PROBLEMS
    }

    /// Minutes of all stages.
    pub fn minutes(&self) -> f64 {
        self.records.iter().map(|r| r.seconds).sum::<f64>() / 60.0
    }

    /// The largest difference between a token's log-probability when sampled and when trained on, over the run.
    pub fn max_logprob_gap(&self) -> f64 {
        self.records.iter().filter_map(|r| r.max_logprob_gap).fold(0.0, f64::max)
    }

    /// `report.json`.
    pub fn to_json(&self) -> Value {
        let mut root = Map::new();
        let mut put = |key: &str, value: Value| root.insert(key.to_owned(), value);
        for (key, value) in json!(self.provenance).as_object().into_iter().flatten() {
            put(key, value.clone());
        }
        put("smoke", self.is_smoke().into());
        put("seed", self.seed.into());
        put("minutes", self.minutes().into());
        put("max_logprob_gap", self.max_logprob_gap().into());
        put("precision", json!(self.settings.precision));
        put("evaluation", json!(self.settings.evaluation));
        for (key, stage) in KEYS {
            let (m, r) = (self.measures(stage), self.stage(stage));
            let interval = |i: Interval| json!([i.low, i.high]);
            let mut figures = json!({
                "pass1": m.score.pass1.mean,
                "pass1_interval": interval(m.score.pass1),
                "pass_at_k": m.score.pass_at_k,
                "cons": m.score.cons_at_k.mean,
                "cons_interval": interval(m.score.cons_at_k),
                "k": m.score.samples,
                "problems": m.score.problems,
                "right": m.score.right,
                "wrong": m.score.wrong,
                "truncated": m.score.truncated,
                "unparsable": m.score.unparsable,
                "length": m.score.mean_tokens.mean,
                "language_consistency": m.language_consistency.mean,
                "language_consistency_interval": interval(m.language_consistency),
                "self_check": m.self_check.mean,
                "readable": m.readable.mean,
                "entropy": m.entropy,
                "zero_variance": m.zero_variance,
                "behaviour": m.behaviour,
                "styles": m.styles,
                "seconds": r.seconds,
                "flops": r.flops,
                "facts": r.facts,
            });
            if !r.forced.is_empty() {
                let table: Map<String, Value> = r.forced.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
                figures["pass1_by_forced_style"] = table.into();
            }
            if key == "zero" {
                let ratio = self.length_ratio("r1-zero", "base");
                figures["length_ratio"] = ratio.mean.into();
                figures["length_ratio_interval"] = interval(ratio);
            }
            put(key, figures);
        }
        put("claims", json!(self.claims));
        Value::Object(root)
    }

    /// Writes `report.json`, `report.html` and the picture to share, `report-card.svg`.
    pub fn save(&self, out: &Path) -> Result<(), Error> {
        let [json, html, card] = Report::FILES;
        write_json(&out.join(json), &self.to_json())?;
        for (name, text) in [(html, page::page(self)), (card, page::card(self))] {
            let (path, temp) = (out.join(name), out.join(format!("{name}.tmp")));
            std::fs::write(&temp, text).map_err(Error::io(&temp))?;
            std::fs::rename(&temp, &path).map_err(Error::io(&path))?;
        }
        Ok(())
    }

    /// A line for every claim; before them a warning if they mean nothing.
    pub fn lines(&self) -> Vec<String> {
        let warning = self.is_smoke().then(|| self.smoke_warning());
        let claim = |c: &Claim| format!("{:<15} {}: {}", c.verdict.name(), c.claim, c.measured);
        warning.into_iter().chain(self.claims.iter().map(claim)).collect()
    }

    /// What a smoke run says on its face.
    fn smoke_warning(&self) -> String {
        let problems = self.settings.evaluation.problems;
        format!(
            "Smoke run: its figures mean nothing. It shows that every stage runs; the models were measured on \
             {problems} problems only."
        )
    }
}
