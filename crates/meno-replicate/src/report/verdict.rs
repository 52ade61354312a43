//! Verdicts on claims: reproduced, not reproduced, undecided.

use meno_eval::Interval;
use serde::Serialize;

/// The verdict on a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The whole interval supports the claim.
    Reproduced,
    /// The whole interval contradicts the claim, or a rule fails.
    NotReproduced,
    /// The interval covers both, or a stage has no right answers.
    Undecided,
}

impl Verdict {
    /// The verdict as shown to people.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Reproduced => "reproduced",
            Verdict::NotReproduced => "not reproduced",
            Verdict::Undecided => "undecided",
        }
    }

    /// The verdict on the claim that the value is above `threshold`.
    pub(super) fn above(interval: Interval, threshold: f64) -> Verdict {
        match interval {
            i if i.low > threshold => Verdict::Reproduced,
            i if i.high < threshold => Verdict::NotReproduced,
            _ => Verdict::Undecided,
        }
    }

    /// `Reproduced` if the condition holds, else `otherwise`.
    pub(super) fn of(condition: bool, otherwise: Verdict) -> Verdict {
        if condition { Verdict::Reproduced } else { otherwise }
    }

    /// The verdict on both of two conditions.
    pub(super) fn and(self, other: Verdict) -> Verdict {
        match (self, other) {
            (Verdict::NotReproduced, _) | (_, Verdict::NotReproduced) => Verdict::NotReproduced,
            (Verdict::Reproduced, Verdict::Reproduced) => Verdict::Reproduced,
            _ => Verdict::Undecided,
        }
    }
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
    }
}
