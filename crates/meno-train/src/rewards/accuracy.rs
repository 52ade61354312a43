//! Accuracy (R1 §2.2.2): the verdict of the verifier.

use super::{Input, Reward};
use crate::data::Verdict;

/// `right` for a right answer, `wrong` for everything else.
#[derive(Clone, Copy, Debug)]
pub struct Accuracy {
    /// Reward of a right answer.
    pub right: f32,
    /// Reward of a wrong, truncated or unparsable one.
    pub wrong: f32,
}

impl Default for Accuracy {
    fn default() -> Self {
        Accuracy { right: 1.0, wrong: 0.0 }
    }
}

impl Reward for Accuracy {
    fn name(&self) -> &str {
        "accuracy"
    }
    fn score(&self, input: &Input) -> f32 {
        if input.verdict == Verdict::Right { self.right } else { self.wrong }
    }
}
