//! The claims of the paper and how this run bears on them. A verdict follows from an interval and a rule, both told.

use super::Report;
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
    /// The interval covers both.
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

    /// Whether `interval` lies above `threshold`.
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
    /// What this run measured.
    pub measured: String,
    /// The deciding figure with its 95 % interval.
    pub interval: Interval,
    /// What the verdict asks of it.
    pub rule: &'static str,
    /// What follows.
    pub verdict: Verdict,
}

fn percent(x: f64) -> String {
    format!("{:.1} %", 100.0 * x)
}

/// `+12.3 points`, with a real minus.
fn points(i: Interval) -> String {
    let p = |x: f64| format!("{:+.1}", 100.0 * x).replace('-', "−");
    format!("{} points ({} to {})", p(i.mean), p(i.low), p(i.high))
}

/// All claims, in the order of the paper.
pub(super) fn claims(r: &Report) -> Vec<Claim> {
    let pass = |s: &str| r.measures(s).score.pass1.mean;
    let from_to = |a: &str, b: &str| format!("{} → {}", percent(pass(a)), percent(pass(b)));
    let language = |s: &str| r.measures(s).language_consistency;
    let mut all = Vec::new();

    let gain = r.gain("r1-zero", "base");
    let twice = if pass("r1-zero") >= 2.0 * pass("base") { Verdict::Reproduced } else { Verdict::NotReproduced };
    all.push(Claim {
        id: "zero_works",
        claim: "Reinforcement learning alone teaches a bare base model to reason (R1-Zero)",
        paper: "AIME 2024 pass@1 from 15.6 % to 71.0 % (77.9 % in the later edition)",
        measured: format!("pass@1 {}: {}", from_to("base", "r1-zero"), points(gain)),
        interval: gain,
        rule: "the gain lies above 0, and pass@1 at least doubles",
        verdict: Verdict::above(gain, 0.0).and(twice),
    });

    let ratio = r.length_ratio("r1-zero", "base");
    let tokens = |s: &str| r.measures(s).score.mean_tokens.mean;
    all.push(Claim {
        id: "zero_thinks_longer",
        claim: "Its responses grow longer by themselves while it learns",
        paper: "from hundreds to thousands of tokens, steadily",
        measured: format!(
            "{:.0} → {:.0} tokens, {:.2} times ({:.2} to {:.2})",
            tokens("base"),
            tokens("r1-zero"),
            ratio.mean,
            ratio.low,
            ratio.high
        ),
        interval: ratio,
        rule: "the ratio lies above 1",
        verdict: Verdict::above(ratio, 1.0),
    });

    let (check, before) = (r.measures("r1-zero").self_check, r.measures("base").self_check);
    let more = check.minus(before);
    all.push(Claim {
        id: "zero_checks_itself",
        claim: "It checks itself more and more often",
        paper: "reflective words become several times as frequent; “wait” appears (the aha moment)",
        measured: format!(
            "responses with a self-check {} → {}: {}",
            percent(before.mean),
            percent(check.mean),
            points(more)
        ),
        interval: more,
        rule: "the gain lies above 0",
        verdict: Verdict::above(more, 0.0),
    });

    let zero = language("r1-zero");
    let flaw = Interval { mean: 1.0 - zero.mean, low: 1.0 - zero.high, high: 1.0 - zero.low };
    all.push(Claim {
        id: "zero_mixes_languages",
        claim: "With accuracy as the only aim, it mixes languages",
        paper: "R1-Zero “struggles with poor readability and language mixing”",
        measured: format!(
            "{} of its words are not in the question's language; {} of its responses hold both",
            percent(flaw.mean),
            percent(r.measures("r1-zero").behaviour.mixed)
        ),
        interval: flaw,
        rule: "the share of words in the wrong language lies above 5 points",
        verdict: Verdict::above(flaw, 0.05),
    });

    let mended = language("r1-zero-language").minus(zero);
    let cost = r.gain("r1-zero-language", "r1-zero");
    all.push(Claim {
        id: "language_reward_works",
        claim: "A reward for language consistency mends that, at little cost",
        paper: "“a slight degradation in performance”, and readable",
        measured: format!(
            "language consistency {} → {}; pass@1 {}",
            percent(zero.mean),
            percent(language("r1-zero-language").mean),
            points(cost)
        ),
        interval: mended,
        rule: "the gain in consistency lies above 0",
        verdict: Verdict::above(mended, 0.0),
    });

    let (dev1, dev0) = (r.measures("cold-start").readable, r.measures("r1-zero").readable);
    let readable = dev1.minus(dev0);
    all.push(Claim {
        id: "cold_start_is_readable",
        claim: "A cold start on a few hundred edited thoughts makes it readable",
        paper: "a readable pattern with a summary, in the reader's language",
        measured: format!(
            "readable in one language {} → {}: {}",
            percent(dev0.mean),
            percent(dev1.mean),
            points(readable)
        ),
        interval: readable,
        rule: "the gain lies above 0",
        verdict: Verdict::above(readable, 0.0),
    });

    let gain = r.gain("reasoning-rl", "cold-start");
    all.push(Claim {
        id: "reasoning_rl_restores",
        claim: "Reinforcement learning after the cold start brings the ability up again",
        paper: "AIME 2024 59.0 % (Dev1) to 74.0 % (Dev2)",
        measured: format!("pass@1 {}: {}", from_to("cold-start", "reasoning-rl"), points(gain)),
        interval: gain,
        rule: "the gain lies above 0",
        verdict: Verdict::above(gain, 0.0),
    });

    let kept = r.gain("rejection-sft", "reasoning-rl");
    all.push(Claim {
        id: "rejection_sft_keeps",
        claim: "The base, fine-tuned on samples of that model that were verified, keeps the ability",
        paper: "AIME 2024 74.0 % (Dev2), 78.1 % (Dev3)",
        measured: format!("pass@1 {}: {}", from_to("reasoning-rl", "rejection-sft"), points(kept)),
        interval: kept,
        rule: "no more than 10 points are lost, and it lies above the base",
        verdict: Verdict::above(kept, -0.10).and(Verdict::above(r.gain("rejection-sft", "base"), 0.0)),
    });

    let even = r.gain("r1", "r1-zero");
    all.push(Claim {
        id: "r1_is_level_and_readable",
        claim: "R1 is as right as R1-Zero and speaks one language",
        paper: "AIME 2024 79.8 % beside 71.0 % (77.9 %), readable",
        measured: format!(
            "pass@1 {} beside {}: {}; language consistency {}",
            percent(pass("r1")),
            percent(pass("r1-zero")),
            points(even),
            percent(language("r1").mean)
        ),
        interval: even,
        rule: "no more than 5 points behind, and consistency above 95 %",
        verdict: Verdict::above(even, -0.05).and(Verdict::above(language("r1"), 0.95)),
    });

    let r1 = &r.measures("r1").score;
    all.push(Claim {
        id: "majority_beats_one",
        claim: "A majority vote is better than one sample",
        paper: "AIME 2024 79.8 % pass@1, 86.7 % by vote (R1-Zero 71.0 % and 86.7 %)",
        measured: format!(
            "R1 {} by one, {} by vote of {}: {}; R1-Zero {} and {}",
            percent(r1.pass1.mean),
            percent(r1.cons_at_k.mean),
            r1.samples,
            points(r1.cons_gain),
            percent(pass("r1-zero")),
            percent(r.measures("r1-zero").score.cons_at_k.mean)
        ),
        interval: r1.cons_gain,
        rule: "the gain lies above 0",
        verdict: Verdict::above(r1.cons_gain, 0.0),
    });

    let taught = r.gain("distill", "student-rl");
    let (a, b) = (r.stage("distill").flops, r.stage("student-rl").flops);
    all.push(Claim {
        id: "distillation_beats_rl",
        claim: "A small model learns more from R1's answers than from reinforcement learning of its own",
        paper: "AIME 2024, a 32B model: 72.6 % distilled, 47.0 % by its own RL",
        measured: format!(
            "pass@1 {} distilled, {} by RL (both from {}): {}; {:.2} and {:.2} TFLOP, the teacher's sampling counted",
            percent(pass("distill")),
            percent(pass("student-rl")),
            percent(pass("student-base")),
            points(taught),
            a / 1e12,
            b / 1e12
        ),
        interval: taught,
        rule: "the lead lies above 0, and the RL had no less compute",
        verdict: Verdict::above(taught, 0.0).and(if b >= a { Verdict::Reproduced } else { Verdict::Undecided }),
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_follow_the_interval() {
        let i = |low: f64, high: f64| Interval { mean: (low + high) / 2.0, low, high };
        assert_eq!(Verdict::above(i(0.1, 0.2), 0.0), Verdict::Reproduced);
        assert_eq!(Verdict::above(i(-0.1, 0.2), 0.0), Verdict::Undecided);
        assert_eq!(Verdict::above(i(-0.2, -0.1), 0.0), Verdict::NotReproduced);
        assert_eq!(Verdict::Reproduced.and(Verdict::Undecided), Verdict::Undecided);
        assert_eq!(Verdict::Undecided.and(Verdict::NotReproduced), Verdict::NotReproduced);
        assert_eq!(points(i(-0.02, 0.01)), "−0.5 points (−2.0 to +1.0)");
    }
}
