//! The figures that claims read from the records, each with its 95 % interval.

use crate::records::StageRecords;
use crate::stage::Stage;
use meno_eval::Interval;

/// A share measured of one model, clustered by problem.
#[derive(Clone, Copy, Debug)]
pub(super) enum Share {
    /// Responses with a self-check.
    SelfCheck,
    /// Responses that are readable and in one language.
    Readable,
    /// Words in the question's language.
    LanguageConsistency,
    /// Words that are not in the question's language.
    WrongLanguage,
}

impl Share {
    pub(super) fn of(self, records: &StageRecords, stage: Stage) -> Interval {
        let m = records.measures(stage);
        match self {
            Share::SelfCheck => m.self_check,
            Share::Readable => m.readable,
            Share::LanguageConsistency => m.language_consistency,
            Share::WrongLanguage => {
                let i = m.language_consistency;
                Interval { mean: 1.0 - i.mean, low: 1.0 - i.high, high: 1.0 - i.low }
            }
        }
    }
}

/// A figure with an interval. In comparisons the first stage is compared with the second.
#[derive(Clone, Copy, Debug)]
pub(super) enum Figure {
    /// pass@1 of one stage minus that of another, paired by problem.
    Gain(Stage, Stage),
    /// Mean response length of one stage divided by that of another.
    LengthRatio(Stage, Stage),
    /// A share of one stage.
    Share(Share, Stage),
    /// A share of one stage minus that of another.
    ShareGain(Share, Stage, Stage),
    /// The accuracy of the majority vote of one stage minus its pass@1.
    VoteGain(Stage),
}

impl Figure {
    /// Reads the figure from the records.
    pub(super) fn read(self, records: &StageRecords) -> Interval {
        match self {
            Figure::Gain(a, b) => records.gain(a, b),
            Figure::LengthRatio(a, b) => records.length_ratio(a, b),
            Figure::Share(share, stage) => share.of(records, stage),
            Figure::ShareGain(share, a, b) => share.of(records, a).minus(share.of(records, b)),
            Figure::VoteGain(stage) => records.measures(stage).score.cons_gain,
        }
    }
}

/// pass@1 of a stage.
pub(super) fn pass1(records: &StageRecords, stage: Stage) -> f64 {
    records.measures(stage).score.pass1.mean
}

/// The number of examples that a stage was fine-tuned on.
pub(super) fn examples(records: &StageRecords, stage: Stage) -> u64 {
    records.stage(stage).facts["examples"].as_u64().unwrap_or(0)
}
