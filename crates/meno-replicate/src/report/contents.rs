//! What a report contains.

use super::claim::ClaimResult;
use super::claims;
use crate::provenance::Provenance;
use crate::records::StageRecords;
use crate::settings::Settings;
use crate::stage::Stage;
use meno_eval::Interval;
use serde_json::{Map, Value, json};

/// The fewest problems whose results mean anything. With 100, an interval reaches ten points to either side.
const MEANINGFUL_PROBLEMS: usize = 100;

/// The results of a finished run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The recipe.
    pub settings: Settings,
    /// The seed.
    pub seed: u64,
    /// The origin: program, machine, time and command.
    pub provenance: Provenance,
    /// The records of the stages.
    pub records: StageRecords,
    /// The claims of the paper with their verdicts.
    pub claims: Vec<ClaimResult>,
}

impl Report {
    /// Tests the records for the claims of the paper.
    pub fn new(settings: &Settings, seed: u64, provenance: Provenance, records: StageRecords) -> Report {
        let claims = claims::evaluate(&records);
        Report { settings: settings.clone(), seed, provenance, records, claims }
    }

    /// Returns true if the run only shows that every stage works: its problems are too few for meaningful results.
    pub fn is_smoke(&self) -> bool {
        self.settings.evaluation.problems < MEANINGFUL_PROBLEMS
    }

    /// The minutes of all stages.
    pub fn minutes(&self) -> f64 {
        self.records.iter().map(|r| r.seconds).sum::<f64>() / 60.0
    }

    /// The largest difference, over the whole run, between a token's log-probability when sampled and when trained on.
    pub fn max_logprob_gap(&self) -> f64 {
        self.records.iter().filter_map(|r| r.max_logprob_gap).fold(0.0, f64::max)
    }

    /// The content of `report.json`.
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
        for (key, stage) in Stage::ALL.into_iter().filter_map(|s| Some((s.report_key()?, s))) {
            put(key, self.stage_json(stage));
        }
        put("claims", json!(self.claims));
        Value::Object(root)
    }

    /// The figures of a stage in `report.json`.
    fn stage_json(&self, stage: Stage) -> Value {
        let (m, r) = (self.records.measures(stage), self.records.stage(stage));
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
        if stage == Stage::R1Zero {
            let ratio = self.records.length_ratio(Stage::R1Zero, Stage::Base);
            figures["length_ratio"] = ratio.mean.into();
            figures["length_ratio_interval"] = interval(ratio);
        }
        figures
    }

    /// The report as lines of text: a warning if the results mean nothing, then one line per claim.
    pub fn lines(&self) -> Vec<String> {
        let warning = self.is_smoke().then(|| self.smoke_warning());
        let claim = |c: &ClaimResult| format!("{:<15} {}: {}", c.verdict.name(), c.claim, c.measured);
        warning.into_iter().chain(self.claims.iter().map(claim)).collect()
    }

    /// The warning of a smoke run.
    pub(super) fn smoke_warning(&self) -> String {
        let problems = self.settings.evaluation.problems;
        format!(
            "Smoke run: its figures mean nothing. It shows that every stage runs; the models were measured on \
             {problems} problems only."
        )
    }
}
