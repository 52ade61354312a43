//! What several endpoints have in common, in OpenAI's field names.

mod tools;

pub use tools::{CalledFunction, Function, Tool, ToolCall, ToolChoice, custom_input, custom_names};

use crate::error::ApiError;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Most stop strings of a request.
pub const MAX_STOPS: usize = 16;
/// Most answers to one request.
pub const MAX_N: usize = 128;
/// Most alternatives per token.
pub const MAX_TOP_LOGPROBS: usize = 20;

/// One string or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

crate::text_or_list::read_text_or_list!(OneOrMany, One, Many, "a string or an array of strings");

impl OneOrMany {
    /// All of them.
    pub fn into_vec(self) -> Vec<String> {
        match self {
            OneOrMany::One(one) => vec![one],
            OneOrMany::Many(many) => many,
        }
    }
}

/// `stream_options`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct StreamOptions {
    /// Whether the last chunk carries the usage.
    #[serde(default)]
    pub include_usage: bool,
}

/// How tokens are chosen: the fields that chat and completions share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SamplingFields {
    /// Logits are divided by this.
    pub temperature: Option<f32>,
    /// Keep the most likely tokens that together have this probability.
    pub top_p: Option<f32>,
    /// Keep this many of the most likely tokens.
    pub top_k: Option<i64>,
    /// Keep tokens at least this fraction as likely as the most likely.
    pub min_p: Option<f32>,
    /// Names the random numbers.
    pub seed: Option<i64>,
    /// Most tokens of the answer.
    pub max_tokens: Option<usize>,
    /// Added to the logits of tokens, by id.
    pub logit_bias: Option<BTreeMap<String, f32>>,
    /// Taken from the logit of every token that was written.
    pub presence_penalty: Option<f32>,
    /// Taken from the logit of a token for every time it was written.
    pub frequency_penalty: Option<f32>,
    /// Divides the logits of tokens in prompt and answer.
    pub repetition_penalty: Option<f32>,
    /// Tokens that end the answer, beside the model's own.
    pub stop_token_ids: Vec<u32>,
    /// Whether the model's own end is passed over.
    pub ignore_eos: bool,
}

/// A limit of tokens; −1, as llama.cpp's clients write it, is none.
pub fn limit<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let expected = "expected a number of tokens, or -1 for no limit";
    match Option::<i64>::deserialize(deserializer)? {
        None => Ok(None),
        Some(-1) => Ok(Some(usize::MAX)),
        Some(n) => usize::try_from(n).map(Some).map_err(|_| serde::de::Error::custom(format!("{n}: {expected}"))),
    }
}

/// How tokens are chosen, in the words of vLLM, llama.cpp and SGLang.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct MoreSampling {
    /// Tokens that end the answer, beside the model's own.
    pub stop_token_ids: Option<Vec<u32>>,
    /// Whether the answer goes on where the model would end it.
    pub ignore_eos: Option<bool>,
    /// The answer does not end before it has this many tokens.
    pub min_tokens: Option<usize>,
    /// llama.cpp's `max_tokens`.
    #[serde(deserialize_with = "limit")]
    pub n_predict: Option<usize>,
    /// `max_tokens` of TGI and SGLang.
    #[serde(deserialize_with = "limit")]
    pub max_new_tokens: Option<usize>,
    /// llama.cpp's `repetition_penalty`.
    pub repeat_penalty: Option<f32>,
}

impl MoreSampling {
    /// `fields` with these.
    pub fn add_to(&self, fields: SamplingFields) -> Result<SamplingFields, ApiError> {
        let max_tokens = fields.max_tokens.or(self.n_predict).or(self.max_new_tokens);
        if let (Some(least), Some(most)) = (self.min_tokens, max_tokens)
            && least > most
        {
            let message = format!("min_tokens is {least}, more than max_tokens, {most}");
            return Err(ApiError::invalid("min_tokens", message));
        }
        Ok(SamplingFields {
            max_tokens,
            repetition_penalty: fields.repetition_penalty.or(self.repeat_penalty),
            stop_token_ids: self.stop_token_ids.clone().unwrap_or_default(),
            ignore_eos: self.ignore_eos == Some(true),
            ..fields
        })
    }
}

/// Tokens of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt.
    pub prompt_tokens: usize,
    /// Of them, those that were in the cache.
    pub cached_tokens: usize,
    /// Of the answers, thoughts included.
    pub completion_tokens: usize,
    /// Of the thoughts.
    pub reasoning_tokens: usize,
}

impl Usage {
    /// As chat and completions return it.
    pub fn json(&self) -> Value {
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": { "cached_tokens": self.cached_tokens },
            "completion_tokens_details": { "reasoning_tokens": self.reasoning_tokens },
        })
    }
}

/// Variables for the chat template from `chat_template_kwargs`.
pub type TemplateKwargs = Map<String, Value>;

/// The shortest decimal that reads as this value: 0.95 rather than 0.949999988079071.
pub fn decimal(value: Option<f32>) -> Value {
    value.and_then(|x| x.to_string().parse::<f64>().ok()).map_or(Value::Null, Value::from)
}

/// Seconds since 1970.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// A random number.
pub fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // Its keys come from the system's random numbers and differ with every call.
    RandomState::new().hash_one(0u8)
}

/// A new name: `prefix` and 24 random hexadecimal digits.
pub fn new_id(prefix: &str) -> String {
    format!("{prefix}{:016x}{:08x}", random(), random() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_printed_as_they_were_given() {
        assert_eq!(decimal(Some(0.95)).to_string(), "0.95");
        assert_eq!(decimal(Some(0.6)).to_string(), "0.6");
        assert_eq!(decimal(None), Value::Null);
    }

    #[test]
    fn names_do_not_repeat() {
        let ids: std::collections::HashSet<String> = (0..100).map(|_| new_id("call_")).collect();
        assert!(ids.len() == 100 && ids.iter().all(|id| id.len() == 29));
    }
}
