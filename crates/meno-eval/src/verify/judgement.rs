//! The verdict on a response, and the reasons for it.

use super::extract::Marker;
use serde::{Deserialize, Serialize};

/// What a verifier says of a response. The four are counted apart: a truncated response is not a wrong thought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The answer is right.
    Right,
    /// There is an answer and it is wrong.
    #[default]
    Wrong,
    /// The response ran into the length limit.
    Truncated,
    /// No answer could be found in the response, or none that can be read.
    Unparsable,
}

/// A verdict with the reasons for it, as `meno verify` prints them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// The answer as the response writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extracted: Option<String>,
    /// How the response marks its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marker: Option<Marker>,
    /// The readings of the reference, printed in one way for all ways to write them.
    pub gold: Vec<String>,
    /// The readings of the extracted answer.
    pub response: Vec<String>,
    /// Why the verdict is what it is.
    pub reason: String,
}
