//! The sampling fields that chat completions and completions share. Responses and messages are converted to chat
//! requests.

use crate::error::ApiError;
use crate::types::OneOrMany;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Maximum number of stop strings per request.
pub(crate) const MAX_STOPS: usize = 16;

/// How tokens are sampled, how many answers there are and where they end. Includes the field names of vLLM, llama.cpp,
/// TGI and SGLang.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct SamplingFields {
    /// Divides the logits.
    pub temperature: Option<f32>,
    /// Keeps the most likely tokens whose probabilities add up to this value.
    pub top_p: Option<f32>,
    /// Keeps this many of the most likely tokens.
    pub top_k: Option<i64>,
    /// Keeps tokens whose probability is at least this fraction of the highest one.
    pub min_p: Option<f32>,
    /// Seed of the random numbers.
    pub seed: Option<i64>,
    /// Added to the logits of tokens, by token id.
    pub logit_bias: Option<BTreeMap<String, f32>>,
    /// Subtracted from the logit of every token that occurred in the answer.
    pub presence_penalty: Option<f32>,
    /// Subtracted from the logit of a token once per occurrence in the answer.
    pub frequency_penalty: Option<f32>,
    /// Divides the logits of tokens that occur in the prompt or the answer.
    pub repetition_penalty: Option<f32>,
    /// llama.cpp's name for `repetition_penalty`.
    pub repeat_penalty: Option<f32>,
    /// Number of answers.
    pub n: Option<usize>,
    /// Strings that end the answer.
    pub stop: Option<OneOrMany>,
    /// Token ids that end the answer, in addition to the model's own.
    pub stop_token_ids: Option<Vec<u32>>,
    /// True if generation continues after the model's end-of-sequence token.
    pub ignore_eos: Option<bool>,
    /// Minimum number of tokens of the answer.
    pub min_tokens: Option<usize>,
    /// Maximum number of tokens of the answer; −1: no limit.
    #[serde(deserialize_with = "token_limit")]
    pub max_tokens: Option<usize>,
    /// llama.cpp's name for `max_tokens`.
    #[serde(deserialize_with = "token_limit")]
    pub n_predict: Option<usize>,
    /// The name of TGI and SGLang for `max_tokens`.
    #[serde(deserialize_with = "token_limit")]
    pub max_new_tokens: Option<usize>,
}

impl SamplingFields {
    /// Maximum number of tokens of the answer, under any of its names.
    pub fn limit(&self) -> Option<usize> {
        self.max_tokens.or(self.n_predict).or(self.max_new_tokens)
    }

    /// Rejects a minimum number of tokens above the maximum.
    pub fn check_min_tokens(&self) -> Result<(), ApiError> {
        match (self.min_tokens, self.limit()) {
            (Some(least), Some(most)) if least > most => {
                let message = format!("min_tokens is {least}, more than max_tokens, {most}");
                Err(ApiError::invalid("min_tokens", message))
            }
            _ => Ok(()),
        }
    }

    /// Takes the stop strings out of the fields.
    pub fn take_stops(&mut self) -> Result<Vec<String>, ApiError> {
        let stops = self.stop.take().map(OneOrMany::into_vec).unwrap_or_default();
        if stops.len() > MAX_STOPS {
            let message = format!("stop has {} strings; at most {MAX_STOPS} are allowed", stops.len());
            return Err(ApiError::invalid("stop", message));
        }
        Ok(stops)
    }
}

/// Reads a maximum number of tokens. −1, which llama.cpp's clients send, means no limit and is read as `usize::MAX`.
pub(crate) fn token_limit<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let expected = "expected a number of tokens, or -1 for no limit";
    match Option::<i64>::deserialize(deserializer)? {
        None => Ok(None),
        Some(-1) => Ok(Some(usize::MAX)),
        Some(n) => usize::try_from(n).map(Some).map_err(|_| serde::de::Error::custom(format!("{n}: {expected}"))),
    }
}
