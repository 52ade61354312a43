//! The verdict on a response, with its reasons.

use super::extract::Marker;
use serde::{Deserialize, Serialize};

/// The verdict on a response. The verdicts are counted separately, because a truncated response is not a wrong one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The answer is right.
    Right,
    /// There is an answer and it is wrong.
    #[default]
    Wrong,
    /// The response reached the length limit.
    Truncated,
    /// The response has no answer, or none that can be read.
    Unparsable,
    /// There is no reference answer to verify against: rewards alone judge the response. No task returns it.
    Unverified,
}

/// A verdict with its reasons, in the form that `meno verify` prints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// The answer as written in the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extracted: Option<String>,
    /// How the response marks its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marker: Option<Marker>,
    /// The readings of the reference, printed in a normal form.
    pub gold: Vec<String>,
    /// The readings of the extracted answer.
    pub response: Vec<String>,
    /// The reason for the verdict.
    pub reason: String,
}
