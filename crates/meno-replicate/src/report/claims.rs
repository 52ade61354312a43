//! The claims of the paper that a run is tested for, as a table.

use super::claim::{Claim, ClaimResult, Test};
use super::figure::{Figure, Share, examples, pass1};
use super::paper::{nature, v1, v2};
use crate::records::StageRecords;
use crate::stage::Stage;
use meno_eval::Interval;

/// The largest number of thoughts that the paper's "few hundred" still covers.
const FEW_HUNDRED: u64 = 1000;

/// All claims, in the order of the paper.
const CLAIMS: [Claim; 11] = [
    Claim {
        id: "zero_works",
        claim: "Reinforcement learning alone teaches a bare base model to reason (R1-Zero)",
        paper: "AIME 2024 pass@1 from 15.6 % to 71.0 % (77.9 % in the later edition)",
        sources: &[v1("§2.2.4"), nature("Table 2")],
        rule: "the gain is above 0, and pass@1 at least doubles",
        stages: &[Stage::Base, Stage::R1Zero],
        figure: Figure::Gain(Stage::R1Zero, Stage::Base),
        tests: &[Test::Above(Figure::Gain(Stage::R1Zero, Stage::Base), 0.0), Test::Doubles(Stage::R1Zero, Stage::Base)],
        measured: |r| from_to(r, Stage::Base, Stage::R1Zero),
        code: &["crates/meno-train/src/grpo.rs", "docs/recipes.md#3-reinforce"],
    },
    Claim {
        id: "zero_thinks_longer",
        claim: "Its responses grow longer by themselves while it learns",
        paper: "from hundreds to thousands of tokens, steadily",
        sources: &[v1("§2.2.4, Fig. 3"), nature("Fig. 1b")],
        rule: "the ratio to the base is above 1",
        stages: &[Stage::Base, Stage::R1Zero],
        figure: Figure::LengthRatio(Stage::R1Zero, Stage::Base),
        tests: &[Test::Above(Figure::LengthRatio(Stage::R1Zero, Stage::Base), 1.0)],
        measured: |r| {
            let ratio = r.length_ratio(Stage::R1Zero, Stage::Base);
            let [a, b] = [Stage::Base, Stage::R1Zero].map(|s| r.measures(s).score.mean_tokens.mean);
            format!("{a:.0} → {b:.0} tokens, {:.2} times ({:.2} to {:.2})", ratio.mean, ratio.low, ratio.high)
        },
        code: &["crates/meno-train/src/grpo/objective.rs", "docs/recipes.md#the-loss"],
    },
    Claim {
        id: "zero_checks_itself",
        claim: "It checks itself more and more often",
        paper: "reflective words become several times as frequent; “wait” appears (the aha moment)",
        sources: &[v1("§2.2.4"), nature("Extended Data Fig. 1")],
        rule: "the gain over the base is above 0",
        stages: &[Stage::Base, Stage::R1Zero],
        figure: Figure::ShareGain(Share::SelfCheck, Stage::R1Zero, Stage::Base),
        tests: &[Test::Above(Figure::ShareGain(Share::SelfCheck, Stage::R1Zero, Stage::Base), 0.0)],
        measured: |r| {
            let change = share_from_to(r, Share::SelfCheck, Stage::Base, Stage::R1Zero);
            format!("responses with a self-check {change}")
        },
        code: &["crates/meno-replicate/src/measure.rs"],
    },
    Claim {
        id: "zero_mixes_languages",
        claim: "With accuracy as the only aim, it mixes languages",
        paper: "R1-Zero “struggles with challenges like poor readability, and language mixing”",
        sources: &[v1("§2.2.4")],
        rule: "the share of words in the wrong language is above 5 points, and above the base's",
        stages: &[Stage::Base, Stage::R1Zero],
        figure: Figure::ShareGain(Share::WrongLanguage, Stage::R1Zero, Stage::Base),
        tests: &[
            Test::Above(Figure::Share(Share::WrongLanguage, Stage::R1Zero), 0.05),
            Test::Above(Figure::ShareGain(Share::WrongLanguage, Stage::R1Zero, Stage::Base), 0.0),
        ],
        measured: |r| {
            let change = share_from_to(r, Share::WrongLanguage, Stage::Base, Stage::R1Zero);
            let [a, b] = [Stage::Base, Stage::R1Zero].map(|s| percent(r.measures(s).behaviour.mixed));
            format!("words that are not in the question's language {change}; responses with both languages {a} → {b}")
        },
        code: &["crates/meno-train/src/rewards/language_consistency.rs"],
    },
    Claim {
        id: "language_reward_works",
        claim: "A reward for language consistency reduces the mixing, at little cost",
        paper: "“a slight degradation in the model's performance”, and more readable",
        sources: &[v1("§2.3.2")],
        rule: "the gain in consistency is above 0, and no more than 10 points of pass@1 are lost",
        stages: &[Stage::R1Zero, Stage::R1ZeroLanguage],
        figure: Figure::ShareGain(Share::LanguageConsistency, Stage::R1ZeroLanguage, Stage::R1Zero),
        tests: &[
            Test::Above(Figure::ShareGain(Share::LanguageConsistency, Stage::R1ZeroLanguage, Stage::R1Zero), 0.0),
            Test::Above(Figure::Gain(Stage::R1ZeroLanguage, Stage::R1Zero), -0.10),
        ],
        measured: |r| {
            let change = share_from_to(r, Share::LanguageConsistency, Stage::R1Zero, Stage::R1ZeroLanguage);
            let cost = points(r.gain(Stage::R1ZeroLanguage, Stage::R1Zero));
            format!("language consistency {change}; pass@1 {cost}")
        },
        code: &["crates/meno-train/src/rewards/language_consistency.rs", "docs/recipes.md#rewards"],
    },
    Claim {
        id: "cold_start_is_readable",
        claim: "A cold start on a few hundred edited thoughts makes it readable",
        paper: "a readable pattern with a summary, in the reader's language",
        sources: &[v1("§2.3.1")],
        rule: "the gain over R1-Zero is above 0, with at most 1,000 thoughts",
        stages: &[Stage::R1Zero, Stage::ColdStart],
        figure: Figure::ShareGain(Share::Readable, Stage::ColdStart, Stage::R1Zero),
        tests: &[
            Test::Above(Figure::ShareGain(Share::Readable, Stage::ColdStart, Stage::R1Zero), 0.0),
            Test::AtMostExamples(Stage::ColdStart, FEW_HUNDRED),
        ],
        measured: |r| {
            let change = share_from_to(r, Share::Readable, Stage::R1Zero, Stage::ColdStart);
            format!("{} thoughts; readable in one language {change}", examples(r, Stage::ColdStart))
        },
        code: &["crates/meno-train/src/sft.rs", "docs/recipes.md#4-or-teach-traces-first"],
    },
    Claim {
        id: "reasoning_rl_restores",
        claim: "Reinforcement learning after the cold start restores the ability",
        paper: "AIME 2024 59.0 % (Dev1) to 74.0 % (Dev2)",
        sources: &[nature("Table 2")],
        rule: "the gain over the cold start is above 0",
        stages: &[Stage::ColdStart, Stage::ReasoningRl],
        figure: Figure::Gain(Stage::ReasoningRl, Stage::ColdStart),
        tests: &[Test::Above(Figure::Gain(Stage::ReasoningRl, Stage::ColdStart), 0.0)],
        measured: |r| from_to(r, Stage::ColdStart, Stage::ReasoningRl),
        code: &["crates/meno-train/src/grpo.rs", "docs/recipes.md#3-reinforce"],
    },
    Claim {
        id: "rejection_sft_keeps",
        claim: "The base, fine-tuned on samples of that model that were verified, keeps the ability",
        paper: "AIME 2024 74.0 % (Dev2), 78.1 % (Dev3)",
        sources: &[nature("Table 2")],
        rule: "no more than 10 points are lost, and it stays above the base",
        stages: &[Stage::Base, Stage::ReasoningRl, Stage::RejectionSft],
        figure: Figure::Gain(Stage::RejectionSft, Stage::ReasoningRl),
        tests: &[
            Test::Above(Figure::Gain(Stage::RejectionSft, Stage::ReasoningRl), -0.10),
            Test::Above(Figure::Gain(Stage::RejectionSft, Stage::Base), 0.0),
        ],
        measured: |r| from_to(r, Stage::ReasoningRl, Stage::RejectionSft),
        code: &["crates/meno-train/src/rejection_sampling.rs", "docs/recipes.md#4-or-teach-traces-first"],
    },
    Claim {
        id: "r1_is_level_and_readable",
        claim: "R1 is as accurate as R1-Zero and answers in one language",
        paper: "AIME 2024 79.8 % compared with 71.0 % (77.9 %), readable",
        sources: &[nature("Table 2"), v1("Tables 2 and 4")],
        rule: "no more than 5 points behind, and consistency above 95 %",
        stages: &[Stage::R1Zero, Stage::R1],
        figure: Figure::Gain(Stage::R1, Stage::R1Zero),
        tests: &[
            Test::Above(Figure::Gain(Stage::R1, Stage::R1Zero), -0.05),
            Test::Above(Figure::Share(Share::LanguageConsistency, Stage::R1), 0.95),
        ],
        measured: |r| {
            let [r1, zero] = [Stage::R1, Stage::R1Zero].map(|s| percent(pass1(r, s)));
            let lead = points(r.gain(Stage::R1, Stage::R1Zero));
            let language = percent(r.measures(Stage::R1).language_consistency.mean);
            format!("pass@1 {r1} compared with {zero}: {lead}; language consistency {language}")
        },
        code: &["crates/meno-replicate/src/stage.rs"],
    },
    Claim {
        id: "majority_beats_one",
        claim: "A majority vote is better than one sample",
        paper: "AIME 2024 79.8 % pass@1, 86.7 % by vote (R1-Zero 71.0 % and 86.7 %)",
        sources: &[v2("supplement"), v1("Table 2")],
        rule: "the gain is above 0",
        stages: &[Stage::R1],
        figure: Figure::VoteGain(Stage::R1),
        tests: &[Test::Above(Figure::VoteGain(Stage::R1), 0.0)],
        measured: |r| {
            let [zero, r1] = [Stage::R1Zero, Stage::R1].map(|s| &r.measures(s).score);
            format!(
                "R1 {} by one, {} by vote of {}: {}; R1-Zero {} and {}",
                percent(r1.pass1.mean),
                percent(r1.cons_at_k.mean),
                r1.samples,
                points(r1.cons_gain),
                percent(zero.pass1.mean),
                percent(zero.cons_at_k.mean)
            )
        },
        code: &["crates/meno-eval/src/consensus.rs", "docs/recipes.md#2-measure-first"],
    },
    Claim {
        id: "distillation_beats_rl",
        claim: "A small model learns more from R1's answers than from its own reinforcement learning",
        paper: "AIME 2024, a 32B model: 72.6 % distilled, 47.0 % by its own RL",
        sources: &[v1("§4.1, Table 6")],
        rule: "the lead is above 0, and the RL had no less compute",
        stages: &[Stage::StudentBase, Stage::Distill, Stage::StudentRl],
        figure: Figure::Gain(Stage::Distill, Stage::StudentRl),
        tests: &[
            Test::Above(Figure::Gain(Stage::Distill, Stage::StudentRl), 0.0),
            Test::NoLessCompute(Stage::StudentRl, Stage::Distill),
        ],
        measured: |r| {
            let [distill, rl, base] =
                [Stage::Distill, Stage::StudentRl, Stage::StudentBase].map(|s| percent(pass1(r, s)));
            let [distill_tflop, rl_tflop] = [Stage::Distill, Stage::StudentRl].map(|s| r.stage(s).flops / 1e12);
            let lead = points(r.gain(Stage::Distill, Stage::StudentRl));
            format!(
                "pass@1 {distill} distilled, {rl} by RL (both from {base}): {lead}; {distill_tflop:.2} and \
                 {rl_tflop:.2} TFLOP, the teacher's sampling counted"
            )
        },
        code: &["crates/meno-train/src/distill.rs", "docs/recipes.md#4-or-teach-traces-first"],
    },
];

/// Tests the run with these records for all claims.
pub(super) fn evaluate(records: &StageRecords) -> Vec<ClaimResult> {
    CLAIMS.iter().map(|claim| claim.evaluate(records)).collect()
}

fn percent(x: f64) -> String {
    format!("{:.1} %", 100.0 * x)
}

/// `+12.3 points (+10.0 to +14.6)`, with a typographic minus.
fn points(i: Interval) -> String {
    let p = |x: f64| format!("{:+.1}", 100.0 * x).replace('-', "−");
    format!("{} points ({} to {})", p(i.mean), p(i.low), p(i.high))
}

/// pass@1 of two stages, and the gain of the second.
fn from_to(r: &StageRecords, a: Stage, b: Stage) -> String {
    format!("pass@1 {} → {}: {}", percent(pass1(r, a)), percent(pass1(r, b)), points(r.gain(b, a)))
}

/// A share of two stages, and the gain of the second.
fn share_from_to(r: &StageRecords, share: Share, a: Stage, b: Stage) -> String {
    let gain = points(Figure::ShareGain(share, b, a).read(r));
    format!("{} → {}: {gain}", percent(share.of(r, a).mean), percent(share.of(r, b).mean))
}

#[cfg(test)]
pub(super) mod tests;
