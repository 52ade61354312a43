//! Rollouts: sampled answers of the policy to questions, verified and rewarded.

mod sampling;

pub use sampling::{RolloutConfig, finished, generator, rollout};

use crate::data::{Question, Verdict};
use crate::rewards::reward::Input;
use serde::{Deserialize, Serialize};

/// One sampled answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// The question it answers.
    pub question: Question,
    /// The response, including the stop token.
    pub tokens: Vec<u32>,
    /// log π_old of each token, at the sampling temperature.
    #[serde(with = "bits")]
    pub logprobs: Vec<f32>,
    /// log π_ref of each token; empty without a reference.
    #[serde(with = "bits")]
    pub ref_logprobs: Vec<f32>,
    /// The response as text.
    pub text: String,
    /// True if the response hit the length limit.
    pub truncated: bool,
    /// The verdict of the verifier.
    pub verdict: Verdict,
    /// The reward: the weighted sum of `scores`.
    pub reward: f32,
    /// The score of each reward function.
    pub scores: Vec<f32>,
    /// The advantage, once computed.
    #[serde(with = "bits1")]
    pub advantage: f32,
}

impl Rollout {
    /// Returns the number of tokens of prompt and response.
    pub fn len(&self) -> usize {
        self.question.prompt.len() + self.tokens.len()
    }
    /// Returns true if there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Returns the input of rewards.
    pub fn input(&self) -> Input<'_> {
        let Rollout { question, text, truncated, verdict, .. } = self;
        Input { question, text, tokens: self.tokens.len(), truncated: *truncated, verdict: *verdict }
    }
}

/// Serializes f32 as bits, so that a checkpoint restores them exactly.
mod bits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    pub(super) fn serialize<S: Serializer>(v: &[f32], s: S) -> Result<S::Ok, S::Error> {
        v.iter().map(|x| x.to_bits()).collect::<Vec<_>>().serialize(s)
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<f32>, D::Error> {
        Ok(Vec::<u32>::deserialize(d)?.into_iter().map(f32::from_bits).collect())
    }
}

mod bits1 {
    use serde::{Deserialize, Deserializer, Serializer};
    pub(super) fn serialize<S: Serializer>(v: &f32, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u32(v.to_bits())
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<f32, D::Error> {
        Ok(f32::from_bits(u32::deserialize(d)?))
    }
}
