//! A claim of the paper, and the evaluator that gives the verdict on it.

use super::figure::{Figure, examples, pass1};
use super::paper::Place;
use super::verdict::Verdict;
use crate::records::StageRecords;
use crate::stage::Stage;
use meno_eval::Interval;
use serde::Serialize;

/// A claim of the paper, and how a run is tested for it.
pub(super) struct Claim {
    /// The name in `report.json`.
    pub(super) id: &'static str,
    /// What the paper claims.
    pub(super) claim: &'static str,
    /// What the paper reports.
    pub(super) paper: &'static str,
    /// Where the paper reports it.
    pub(super) sources: &'static [Place],
    /// The tests in words.
    pub(super) rule: &'static str,
    /// The stages that are compared. Each must have right answers, or there is nothing to compare.
    pub(super) stages: &'static [Stage],
    /// The figure shown with its interval.
    pub(super) figure: Figure,
    /// The claim is reproduced if all of these hold.
    pub(super) tests: &'static [Test],
    /// Writes what the run measured.
    pub(super) measured: fn(&StageRecords) -> String,
    /// Where the repository implements or documents the subject of the claim.
    pub(super) code: &'static [&'static str],
}

/// A condition on the results of a run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Test {
    /// The figure lies above the threshold; undecided if the threshold is within its interval.
    Above(Figure, f64),
    /// pass@1 of the first stage is at least twice that of the second.
    Doubles(Stage, Stage),
    /// The stage was fine-tuned on at most this many examples; undecided if on more.
    AtMostExamples(Stage, u64),
    /// The first stage used at least as many FLOPs as the second; undecided if fewer.
    NoLessCompute(Stage, Stage),
}

impl Test {
    fn evaluate(self, records: &StageRecords) -> Verdict {
        match self {
            Test::Above(figure, threshold) => Verdict::above(figure.read(records), threshold),
            Test::Doubles(a, b) => Verdict::of(pass1(records, a) >= 2.0 * pass1(records, b), Verdict::NotReproduced),
            Test::AtMostExamples(stage, most) => Verdict::of(examples(records, stage) <= most, Verdict::Undecided),
            Test::NoLessCompute(a, b) => {
                let [a, b] = [a, b].map(|s| records.stage(s).flops);
                Verdict::of(a >= b, Verdict::Undecided)
            }
        }
    }
}

/// A claim with the verdict on a run, as in `report.json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClaimResult {
    /// The name of the claim.
    pub id: &'static str,
    /// What the paper claims.
    pub claim: &'static str,
    /// What the paper reports.
    pub paper: &'static str,
    /// Where the paper reports it.
    pub sources: &'static [Place],
    /// What this run measured.
    pub measured: String,
    /// The deciding figure with its 95 % interval.
    pub interval: Interval,
    /// What must hold for the claim to be reproduced.
    pub rule: &'static str,
    /// The verdict.
    pub verdict: Verdict,
    /// Where the repository implements or documents the subject of the claim.
    pub code: &'static [&'static str],
}

impl Claim {
    /// Tests the run with these records for the claim.
    pub(super) fn evaluate(&self, records: &StageRecords) -> ClaimResult {
        let mut measured = (self.measured)(records);
        let all = |verdict: Verdict, test: &Test| verdict.and(test.evaluate(records));
        let mut verdict = self.tests.iter().fold(Verdict::Reproduced, all);
        if let Some(&stage) = self.stages.iter().find(|s| records.measures(**s).score.right == 0) {
            let title = &records.stage(stage).title;
            measured += &format!(" ({title} has no right answers, so there is nothing to compare)");
            verdict = Verdict::Undecided;
        }
        let interval = self.figure.read(records);
        let Claim { id, claim, paper, sources, rule, code, .. } = *self;
        ClaimResult { id, claim, paper, sources, measured, interval, rule, verdict, code }
    }
}
