//! One reward, and what it sees of a response.

use crate::data::{Question, Verdict};

/// The input of a reward.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The question.
    pub question: &'a Question,
    /// The response as text, without the end-of-sequence token.
    pub text: &'a str,
    /// Number of tokens of the response.
    pub tokens: usize,
    /// True if the response hit the length limit.
    pub truncated: bool,
    /// The verdict, from the same verifier as in evaluation.
    pub verdict: Verdict,
}

/// One reward.
pub trait Reward: Sync {
    /// Returns its name in metrics: `rewards/<name>/mean`.
    fn name(&self) -> &str;
    /// Fails if it cannot score answers to the question; the error explains why.
    fn check(&self, _question: &Question) -> Result<(), String> {
        Ok(())
    }
    /// Returns the reward of one response.
    fn score(&self, input: &Input) -> f32;
}
