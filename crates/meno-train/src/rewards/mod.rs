//! Rewards: pure functions of a question and a response, composed by weight.
//!
//! R1 §2.2.2: rules only (accuracy, format), no neural reward model; §2.3.2 adds language consistency. Length shaping
//! is DAPO's soft overlong punishment and the cosine reward of arXiv 2502.03373.

pub mod accuracy;
pub mod format;
pub mod language_consistency;
pub mod length;
pub mod repetition;

use crate::data::{Question, Verdict};

/// What a reward sees.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The question that was asked.
    pub question: &'a Question,
    /// The response as text, without the end-of-sequence token.
    pub text: &'a str,
    /// How many tokens the response has.
    pub tokens: usize,
    /// Whether it ran into the length limit.
    pub truncated: bool,
    /// What the verifier said: the same verifier that evaluation uses.
    pub verdict: Verdict,
}

/// One reward.
pub trait Reward: Sync {
    /// Its name in metrics: `rewards/<name>/mean`.
    fn name(&self) -> &str;
    /// The reward of one response.
    fn score(&self, input: &Input) -> f32;
}

/// A reward and its weight.
pub struct Weighted {
    /// The factor of its score in the sum.
    pub weight: f32,
    /// The reward.
    pub reward: Box<dyn Reward>,
}

impl Weighted {
    /// `reward` with weight `weight`.
    pub fn new(weight: f32, reward: impl Reward + 'static) -> Self {
        Weighted { weight, reward: Box::new(reward) }
    }
}

/// The weighted sum, in the order of `rewards`, and the single scores.
pub fn compose(rewards: &[Weighted], input: &Input) -> (f32, Vec<f32>) {
    let scores: Vec<f32> = rewards.iter().map(|r| r.reward.score(input)).collect();
    (scores.iter().zip(rewards).map(|(s, r)| s * r.weight).sum(), scores)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn question(language: &str) -> Question {
        Question { language: language.into(), ..Question::default() }
    }

    pub(crate) fn input<'a>(question: &'a Question, text: &'a str) -> Input<'a> {
        Input { question, text, tokens: text.len(), truncated: false, verdict: Verdict::Wrong }
    }

    #[test]
    fn the_sum_is_weighted() {
        let rewards =
            [Weighted::new(1.0, accuracy::Accuracy::default()), Weighted::new(0.5, format::Format::default())];
        let q = question("en");
        let mut i = input(&q, "<think>1+1=2</think><answer>2</answer>");
        i.verdict = Verdict::Right;
        assert_eq!(compose(&rewards, &i), (1.5, vec![1.0, 1.0]));
        i.verdict = Verdict::Wrong;
        assert_eq!(compose(&rewards, &i), (0.5, vec![0.0, 1.0]));
    }
}
