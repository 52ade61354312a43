//! The curves that the page shows, and what the paper says about each.

use super::chart::{Axis, Chart, Series, Spec, chart};
use super::paper::{Place, nature, v1};
use crate::record::StageRecord;
use crate::records::StageRecords;
use crate::stage::Stage;
use serde_json::{Map, Value};

/// The largest number of points of a line. A screen cannot show more.
const MAX_POINTS: usize = 160;

/// A metric of a stage by step. Long curves are averaged over neighbouring steps.
fn points(record: &StageRecord, name: &str) -> Vec<(f64, f64)> {
    let point = |s: &Map<String, Value>| Some((s.get("step")?.as_f64()?, s.get(name)?.as_f64()?));
    let all: Vec<(f64, f64)> = record.history.iter().filter_map(point).collect();
    let every = all.len().div_ceil(MAX_POINTS).max(1);
    let mean = |c: &[(f64, f64)]| c.iter().map(|p| p.1).sum::<f64>() / c.len() as f64;
    all.chunks(every).map(|c| (c[c.len() - 1].0, mean(c))).collect()
}

/// A chart of R1-Zero.
struct Curve {
    id: &'static str,
    title: &'static str,
    note: &'static str,
    axis: Axis,
    /// The metric that it shows.
    figure: &'static str,
    /// What the paper says about it, and where.
    paper: Option<(&'static str, Place)>,
    /// Values that the paper prints, drawn as horizontal lines.
    guides: &'static [(f64, &'static str)],
}

const fn curve(
    [id, title, note]: [&'static str; 3],
    axis: Axis,
    figure: &'static str,
    paper: Option<(&'static str, Place)>,
) -> Curve {
    Curve { id, title, note, axis, figure, paper, guides: &[] }
}

/// The charts of R1-Zero.
const ZERO: [Curve; 8] = [
    Curve {
        guides: &[(0.156, "paper, before: 15.6 %"), (0.779, "paper, after: 77.9 %")],
        ..curve(
            ["zero-right", "Right answers", "Share of the answers of each step that were right (accuracy)."],
            Axis::Share,
            "verdicts/right",
            Some(("15.6 % before and 77.9 % after, on AIME 2024; its curve over 10,400 steps is", nature("Fig. 1a"))),
        )
    },
    curve(
        ["zero-length", "Length of responses", "In tokens. Length is not rewarded."],
        Axis::Number,
        "completions/mean_length",
        Some((
            "“hundreds to thousands of reasoning tokens” (arXiv v1, §2.2.4), no figures printed; its curve is",
            nature("Fig. 1b"),
        )),
    ),
    curve(
        ["zero-check", "Responses that check themselves", "With at least one check of a step (self-verification)."],
        Axis::Share,
        "behaviour/self_check",
        Some(("reflective words become several times as frequent; its curves are", nature("Extended Data Fig. 1"))),
    ),
    curve(
        [
            "zero-language",
            "Words in the question's language",
            "The rest are words of the other one (language consistency).",
        ],
        Axis::Share,
        "behaviour/language_consistency",
        Some((
            "R1-Zero mixes languages; the language reward costs a little accuracy and reduces the mixing",
            v1("§2.3.2"),
        )),
    ),
    curve(
        ["zero-wait", "Responses that say “wait”", "A check found something and the step is done again."],
        Axis::Share,
        "behaviour/wait",
        Some(("absent at first, common after step 8,000; its curve is", nature("Extended Data Fig. 1"))),
    ),
    curve(
        ["zero-slips", "Steps with a slip", "Steps of a calculation that were wrong at first."],
        Axis::Share,
        "behaviour/slips_per_step",
        None,
    ),
    curve(
        [
            "zero-decided",
            "Questions with nothing to learn from",
            "All answers to them were right, or all wrong (groups of zero variance).",
        ],
        Axis::Share,
        "frac_reward_zero_std",
        None,
    ),
    curve(
        [
            "zero-entropy",
            "How uncertain it is",
            "Entropy of the next token, in nats. 0: it always chooses the same token.",
        ],
        Axis::Number,
        "entropy",
        None,
    ),
];

/// Draws the charts of R1-Zero, with and without the language reward.
pub(super) fn zero(r: &StageRecords) -> Vec<Chart> {
    let (zero, language) = (r.stage(Stage::R1Zero), r.stage(Stage::R1ZeroLanguage));
    let one = |&Curve { id, title, note, axis, figure, paper, guides }: &Curve| {
        let series = vec![
            Series { name: "R1-Zero", colour: 1, points: points(zero, figure) },
            Series { name: "with language reward", colour: 2, points: points(language, figure) },
        ];
        chart(Spec { id, title, note, axis, series, paper, guides: guides.to_vec() })
    };
    ZERO.iter().filter_map(one).collect()
}

/// Draws the charts of the base and of the stages after R1-Zero.
pub(super) fn others(r: &StageRecords) -> Vec<Chart> {
    let one = |id, title, note, name: &str| {
        let series = vec![Series { name: "", colour: 3, points: points(r.stage(Stage::Base), name) }];
        chart(Spec { id, title, note, axis: Axis::Number, series, paper: None, guides: Vec::new() })
    };
    let rl = |id, title, note, name: &str, paper| {
        let stages =
            [("reasoning RL", Stage::ReasoningRl, 1), ("R1", Stage::R1, 2), ("RL on the student", Stage::StudentRl, 4)];
        let line = |(name_of, stage, colour)| Series { name: name_of, colour, points: points(r.stage(stage), name) };
        let series = stages.map(line).into();
        chart(Spec { id, title, note, axis: Axis::Share, series, paper, guides: Vec::new() })
    };
    let charts = [
        one("base-loss", "Base: how surprised it is by text", "Loss, in nats per token; lower is better.", "loss"),
        one(
            "base-experts",
            "Base: the busiest expert",
            "Its load above the mean; 0 is a perfect balance (MaxVio).",
            "moe/max_violation",
        ),
        rl(
            "rl-right",
            "Right answers",
            "Of each step's answers, in the other stages of reinforcement learning.",
            "verdicts/right",
            Some(("59.0 % to 74.0 % by reasoning RL, on AIME 2024", nature("Table 2"))),
        ),
        rl(
            "rl-language",
            "Words in the question's language",
            "Rewarded in reasoning RL and R1, not in RL on the student.",
            "behaviour/language_consistency",
            Some(("the language reward costs a little accuracy and makes thoughts readable", v1("§2.3.2"))),
        ),
    ];
    charts.into_iter().flatten().collect()
}
