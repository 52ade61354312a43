//! The claims of the paper and how this run bears on them: a table, and one evaluator.
//!
//! A verdict follows from an interval and a rule, both shown. Where a stage that a claim compares has no right answer
//! at all there is nothing to compare, and the claim is undecided.

use super::Report;
use super::paper::{Place, nature, v1, v2};
use meno_eval::Interval;
use serde::Serialize;

/// What a run says of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The whole interval says so.
    Reproduced,
    /// The whole interval says no, or the rule fails.
    NotReproduced,
    /// The interval covers both, or a stage has no right answers.
    Undecided,
}

impl Verdict {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Reproduced => "reproduced",
            Verdict::NotReproduced => "not reproduced",
            Verdict::Undecided => "undecided",
        }
    }

    /// Compares `interval` with `threshold`.
    fn above(interval: Interval, threshold: f64) -> Verdict {
        match interval {
            i if i.low > threshold => Verdict::Reproduced,
            i if i.high < threshold => Verdict::NotReproduced,
            _ => Verdict::Undecided,
        }
    }

    /// Both.
    fn and(self, other: Verdict) -> Verdict {
        match (self, other) {
            (Verdict::NotReproduced, _) | (_, Verdict::NotReproduced) => Verdict::NotReproduced,
            (Verdict::Reproduced, Verdict::Reproduced) => Verdict::Reproduced,
            _ => Verdict::Undecided,
        }
    }
}

/// A claim of the paper beside a measurement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claim {
    /// Its name in `report.json`.
    pub id: &'static str,
    /// The claim.
    pub claim: &'static str,
    /// What the paper reports.
    pub paper: &'static str,
    /// Where it reports it.
    pub sources: &'static [Place],
    /// What this run measured.
    pub measured: String,
    /// The deciding figure with its 95 % interval.
    pub interval: Interval,
    /// What the verdict asks of it.
    pub rule: &'static str,
    /// What follows.
    pub verdict: Verdict,
    /// Where the code or the documents hold what it is about, by their paths in the repository.
    pub code: &'static [&'static str],
}

/// What a run measured for a claim.
struct Evidence {
    measured: String,
    interval: Interval,
    verdict: Verdict,
}

/// A claim before it is measured.
struct Row {
    id: &'static str,
    claim: &'static str,
    paper: &'static str,
    sources: &'static [Place],
    rule: &'static str,
    /// The stages that are compared.
    stages: &'static [&'static str],
    evidence: fn(&Report) -> Evidence,
    code: &'static [&'static str],
}

/// All claims, in the order of the paper.
const CLAIMS: [Row; 11] = [
    Row {
        id: "zero_works",
        claim: "Reinforcement learning alone teaches a bare base model to reason (R1-Zero)",
        paper: "AIME 2024 pass@1 from 15.6 % to 71.0 % (77.9 % in the later edition)",
        sources: &[v1("§2.2.4"), nature("Table 2")],
        rule: "the gain lies above 0, and pass@1 at least doubles",
        stages: &["base", "r1-zero"],
        evidence: zero_works,
        code: &["crates/meno-train/src/grpo.rs", "docs/recipes.md#3-reinforce"],
    },
    Row {
        id: "zero_thinks_longer",
        claim: "Its responses grow longer by themselves while it learns",
        paper: "from hundreds to thousands of tokens, steadily",
        sources: &[v1("§2.2.4, Fig. 3"), nature("Fig. 1b")],
        rule: "the ratio to the base lies above 1",
        stages: &["base", "r1-zero"],
        evidence: zero_thinks_longer,
        code: &["crates/meno-train/src/grpo/objective.rs", "docs/recipes.md#the-loss"],
    },
    Row {
        id: "zero_checks_itself",
        claim: "It checks itself more and more often",
        paper: "reflective words become several times as frequent; “wait” appears (the aha moment)",
        sources: &[v1("§2.2.4"), nature("Extended Data Fig. 1")],
        rule: "the gain over the base lies above 0",
        stages: &["base", "r1-zero"],
        evidence: zero_checks_itself,
        code: &["crates/meno-replicate/src/measure.rs"],
    },
    Row {
        id: "zero_mixes_languages",
        claim: "With accuracy as the only aim, it mixes languages",
        paper: "R1-Zero “struggles with challenges like poor readability, and language mixing”",
        sources: &[v1("§2.2.4")],
        rule: "the share of words in the wrong language lies above 5 points, and above the base's",
        stages: &["base", "r1-zero"],
        evidence: zero_mixes_languages,
        code: &["crates/meno-train/src/rewards/language_consistency.rs"],
    },
    Row {
        id: "language_reward_works",
        claim: "A reward for language consistency reduces the mixing, at little cost",
        paper: "“a slight degradation in the model's performance”, and more readable",
        sources: &[v1("§2.3.2")],
        rule: "the gain in consistency lies above 0, and no more than 10 points of pass@1 are lost",
        stages: &["r1-zero", "r1-zero-language"],
        evidence: language_reward_works,
        code: &["crates/meno-train/src/rewards/language_consistency.rs", "docs/recipes.md#rewards"],
    },
    Row {
        id: "cold_start_is_readable",
        claim: "A cold start on a few hundred edited thoughts makes it readable",
        paper: "a readable pattern with a summary, in the reader's language",
        sources: &[v1("§2.3.1")],
        rule: "the gain over R1-Zero lies above 0, with at most 1,000 thoughts",
        stages: &["r1-zero", "cold-start"],
        evidence: cold_start_is_readable,
        code: &["crates/meno-train/src/sft.rs", "docs/recipes.md#4-or-teach-traces-first"],
    },
    Row {
        id: "reasoning_rl_restores",
        claim: "Reinforcement learning after the cold start restores the ability",
        paper: "AIME 2024 59.0 % (Dev1) to 74.0 % (Dev2)",
        sources: &[nature("Table 2")],
        rule: "the gain over the cold start lies above 0",
        stages: &["cold-start", "reasoning-rl"],
        evidence: reasoning_rl_restores,
        code: &["crates/meno-train/src/grpo.rs", "docs/recipes.md#3-reinforce"],
    },
    Row {
        id: "rejection_sft_keeps",
        claim: "The base, fine-tuned on samples of that model that were verified, keeps the ability",
        paper: "AIME 2024 74.0 % (Dev2), 78.1 % (Dev3)",
        sources: &[nature("Table 2")],
        rule: "no more than 10 points are lost, and it lies above the base",
        stages: &["base", "reasoning-rl", "rejection-sft"],
        evidence: rejection_sft_keeps,
        code: &["crates/meno-train/src/rejection_sampling.rs", "docs/recipes.md#4-or-teach-traces-first"],
    },
    Row {
        id: "r1_is_level_and_readable",
        claim: "R1 is as accurate as R1-Zero and answers in one language",
        paper: "AIME 2024 79.8 % beside 71.0 % (77.9 %), readable",
        sources: &[nature("Table 2"), v1("Tables 2 and 4")],
        rule: "no more than 5 points behind, and consistency above 95 %",
        stages: &["r1-zero", "r1"],
        evidence: r1_is_level_and_readable,
        code: &["crates/meno-replicate/src/stages.rs"],
    },
    Row {
        id: "majority_beats_one",
        claim: "A majority vote is better than one sample",
        paper: "AIME 2024 79.8 % pass@1, 86.7 % by vote (R1-Zero 71.0 % and 86.7 %)",
        sources: &[v2("supplement"), v1("Table 2")],
        rule: "the gain lies above 0",
        stages: &["r1"],
        evidence: majority_beats_one,
        code: &["crates/meno-eval/src/consensus.rs", "docs/recipes.md#2-measure-first"],
    },
    Row {
        id: "distillation_beats_rl",
        claim: "A small model learns more from R1's answers than from its own reinforcement learning",
        paper: "AIME 2024, a 32B model: 72.6 % distilled, 47.0 % by its own RL",
        sources: &[v1("§4.1, Table 6")],
        rule: "the lead lies above 0, and the RL had no less compute",
        stages: &["student-base", "distill", "student-rl"],
        evidence: distillation_beats_rl,
        code: &["crates/meno-train/src/distill.rs", "docs/recipes.md#4-or-teach-traces-first"],
    },
];

/// All claims with what `report` says of them.
pub(super) fn claims(report: &Report) -> Vec<Claim> {
    CLAIMS.iter().map(|row| row.evaluate(report)).collect()
}

impl Row {
    fn evaluate(&self, report: &Report) -> Claim {
        let Evidence { mut measured, interval, mut verdict } = (self.evidence)(report);
        if let Some(stage) = self.stages.iter().find(|s| report.measures(s).score.right == 0) {
            measured +=
                &format!(" ({} has no right answers, so there is nothing to compare)", report.stage(stage).title);
            verdict = Verdict::Undecided;
        }
        let Row { id, claim, paper, sources, rule, code, .. } = *self;
        Claim { id, claim, paper, sources, measured, interval, rule, verdict, code }
    }
}

fn percent(x: f64) -> String {
    format!("{:.1} %", 100.0 * x)
}

/// `+12.3 points`, with a real minus.
fn points(i: Interval) -> String {
    let p = |x: f64| format!("{:+.1}", 100.0 * x).replace('-', "−");
    format!("{} points ({} to {})", p(i.mean), p(i.low), p(i.high))
}

fn pass(r: &Report, stage: &str) -> f64 {
    r.measures(stage).score.pass1.mean
}

fn from_to(r: &Report, a: &str, b: &str) -> String {
    format!("pass@1 {} → {}: {}", percent(pass(r, a)), percent(pass(r, b)), points(r.gain(b, a)))
}

/// The share of words that are not in the question's language.
fn wrong_language(r: &Report, stage: &str) -> Interval {
    let i = r.measures(stage).language_consistency;
    Interval { mean: 1.0 - i.mean, low: 1.0 - i.high, high: 1.0 - i.low }
}

fn zero_works(r: &Report) -> Evidence {
    let gain = r.gain("r1-zero", "base");
    let doubled = pass(r, "r1-zero") >= 2.0 * pass(r, "base");
    let doubled = if doubled { Verdict::Reproduced } else { Verdict::NotReproduced };
    let verdict = Verdict::above(gain, 0.0).and(doubled);
    Evidence { measured: from_to(r, "base", "r1-zero"), interval: gain, verdict }
}

fn zero_thinks_longer(r: &Report) -> Evidence {
    let ratio = r.length_ratio("r1-zero", "base");
    let tokens = |s: &str| r.measures(s).score.mean_tokens.mean;
    let (a, b) = (tokens("base"), tokens("r1-zero"));
    let measured = format!("{a:.0} → {b:.0} tokens, {:.2} times ({:.2} to {:.2})", ratio.mean, ratio.low, ratio.high);
    Evidence { measured, interval: ratio, verdict: Verdict::above(ratio, 1.0) }
}

fn zero_checks_itself(r: &Report) -> Evidence {
    let [base, zero] = ["base", "r1-zero"].map(|s| r.measures(s).self_check);
    let more = zero.minus(base);
    let (a, b) = (percent(base.mean), percent(zero.mean));
    let measured = format!("responses with a self-check {a} → {b}: {}", points(more));
    Evidence { measured, interval: more, verdict: Verdict::above(more, 0.0) }
}

fn zero_mixes_languages(r: &Report) -> Evidence {
    let [base, zero] = ["base", "r1-zero"].map(|s| wrong_language(r, s));
    let more = zero.minus(base);
    let measured = format!(
        "words that are not in the question's language {} → {}: {}; responses with both languages {} → {}",
        percent(base.mean),
        percent(zero.mean),
        points(more),
        percent(r.measures("base").behaviour.mixed),
        percent(r.measures("r1-zero").behaviour.mixed)
    );
    Evidence { measured, interval: more, verdict: Verdict::above(zero, 0.05).and(Verdict::above(more, 0.0)) }
}

fn language_reward_works(r: &Report) -> Evidence {
    let [zero, language] = ["r1-zero", "r1-zero-language"].map(|s| r.measures(s).language_consistency);
    let (gain, cost) = (language.minus(zero), r.gain("r1-zero-language", "r1-zero"));
    let (a, b) = (percent(zero.mean), percent(language.mean));
    let measured = format!("language consistency {a} → {b}: {}; pass@1 {}", points(gain), points(cost));
    Evidence { measured, interval: gain, verdict: Verdict::above(gain, 0.0).and(Verdict::above(cost, -0.10)) }
}

/// Most thoughts that still are a few hundred.
const FEW_HUNDRED: u64 = 1000;

fn cold_start_is_readable(r: &Report) -> Evidence {
    let [zero, cold] = ["r1-zero", "cold-start"].map(|s| r.measures(s).readable);
    let readable = cold.minus(zero);
    let thoughts = r.stage("cold-start").facts["examples"].as_u64().unwrap_or(0);
    let few = if thoughts <= FEW_HUNDRED { Verdict::Reproduced } else { Verdict::Undecided };
    let (a, b) = (percent(zero.mean), percent(cold.mean));
    let measured = format!("{thoughts} thoughts; readable in one language {a} → {b}: {}", points(readable));
    Evidence { measured, interval: readable, verdict: Verdict::above(readable, 0.0).and(few) }
}

fn reasoning_rl_restores(r: &Report) -> Evidence {
    let gain = r.gain("reasoning-rl", "cold-start");
    let measured = from_to(r, "cold-start", "reasoning-rl");
    Evidence { measured, interval: gain, verdict: Verdict::above(gain, 0.0) }
}

fn rejection_sft_keeps(r: &Report) -> Evidence {
    let kept = r.gain("rejection-sft", "reasoning-rl");
    let verdict = Verdict::above(kept, -0.10).and(Verdict::above(r.gain("rejection-sft", "base"), 0.0));
    Evidence { measured: from_to(r, "reasoning-rl", "rejection-sft"), interval: kept, verdict }
}

fn r1_is_level_and_readable(r: &Report) -> Evidence {
    let (even, language) = (r.gain("r1", "r1-zero"), r.measures("r1").language_consistency);
    let measured = format!(
        "pass@1 {} beside {}: {}; language consistency {}",
        percent(pass(r, "r1")),
        percent(pass(r, "r1-zero")),
        points(even),
        percent(language.mean)
    );
    Evidence { measured, interval: even, verdict: Verdict::above(even, -0.05).and(Verdict::above(language, 0.95)) }
}

fn majority_beats_one(r: &Report) -> Evidence {
    let [zero, r1] = ["r1-zero", "r1"].map(|s| &r.measures(s).score);
    let measured = format!(
        "R1 {} by one, {} by vote of {}: {}; R1-Zero {} and {}",
        percent(r1.pass1.mean),
        percent(r1.cons_at_k.mean),
        r1.samples,
        points(r1.cons_gain),
        percent(zero.pass1.mean),
        percent(zero.cons_at_k.mean)
    );
    Evidence { measured, interval: r1.cons_gain, verdict: Verdict::above(r1.cons_gain, 0.0) }
}

fn distillation_beats_rl(r: &Report) -> Evidence {
    let lead = r.gain("distill", "student-rl");
    let [distill, rl] = ["distill", "student-rl"].map(|s| r.stage(s).flops);
    let enough = if rl >= distill { Verdict::Reproduced } else { Verdict::Undecided };
    let measured = format!(
        "pass@1 {} distilled, {} by RL (both from {}): {}; {:.2} and {:.2} TFLOP, the teacher's sampling counted",
        percent(pass(r, "distill")),
        percent(pass(r, "student-rl")),
        percent(pass(r, "student-base")),
        points(lead),
        distill / 1e12,
        rl / 1e12
    );
    Evidence { measured, interval: lead, verdict: Verdict::above(lead, 0.0).and(enough) }
}

#[cfg(test)]
pub(super) mod tests;
