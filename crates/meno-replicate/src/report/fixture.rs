//! A run for the tests of the report.

use crate::measure::{Measures, PerProblem};
use crate::record::StageRecord;
use crate::stage::Stage;
use meno_eval::Interval;
use meno_eval::score::Summary;
use serde_json::json;

pub(super) fn interval(low: f64, high: f64) -> Interval {
    Interval { mean: (low + high) / 2.0, low, high }
}

/// A share whose interval reaches one point to either side.
pub(super) fn about(mean: f64) -> Interval {
    interval(mean - 0.01, mean + 0.01)
}

/// A model that solves `solved` of 100 problems in `length` tokens.
pub(super) fn model(solved: usize, length: f64) -> Measures {
    let pass1: Vec<f64> = (0..100).map(|i| f64::from(u8::from(i < solved))).collect();
    let score = Summary {
        problems: 100,
        samples: 1,
        pass1: Interval::of_share(&pass1),
        cons_gain: interval(0.01, 0.05),
        right: solved,
        wrong: 100 - solved,
        mean_tokens: about(length),
        ..Summary::default()
    };
    Measures {
        score,
        language_consistency: about(0.7),
        self_check: about(0.3),
        readable: about(0.5),
        per_problem: PerProblem { pass1, length: (0..100).map(|i| length + f64::from(i % 7)).collect() },
        ..Measures::default()
    }
}

/// A run in which every claim is reproduced.
pub(super) fn stages() -> Vec<StageRecord> {
    let stage = |stage: Stage, m: Measures| StageRecord {
        name: stage.name().into(),
        title: format!("the {}", stage.name()),
        measures: Some(m),
        facts: json!({ "examples": 350 }),
        ..StageRecord::default()
    };
    let zero = Measures { self_check: about(0.9), language_consistency: about(0.5), ..model(80, 140.0) };
    let pure = |m: Measures| Measures { language_consistency: about(0.99), readable: about(0.95), ..m };
    let mut stages = vec![
        stage(Stage::Base, model(30, 60.0)),
        stage(Stage::R1Zero, zero),
        stage(Stage::R1ZeroLanguage, pure(model(78, 140.0))),
        stage(Stage::ColdStart, pure(model(40, 140.0))),
        stage(Stage::ReasoningRl, pure(model(70, 140.0))),
        stage(Stage::RejectionSft, pure(model(70, 140.0))),
        stage(Stage::R1, pure(model(81, 140.0))),
        stage(Stage::StudentBase, model(3, 60.0)),
        stage(Stage::Distill, model(30, 140.0)),
        stage(Stage::StudentRl, model(4, 60.0)),
    ];
    (stages[8].flops, stages[9].flops) = (1e12, 2e12);
    stages
}
