//! Types that several endpoints share, with OpenAI's field names.

mod tools;

pub use tools::{CalledFunction, Function, Tool, ToolCall, ToolChoice, custom_input, custom_names};

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Reported as `system_fingerprint`: clients that send the same seed can compare it to see whether to expect the same
/// text.
pub const FINGERPRINT: &str = concat!("meno-", env!("CARGO_PKG_VERSION"));
/// Maximum number of answers to one request.
pub const MAX_N: usize = 128;
/// Maximum number of alternatives per token.
pub const MAX_TOP_LOGPROBS: usize = 20;

/// One or several strings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

crate::text_or_list::read_text_or_list!(OneOrMany, One, Many, "a string or an array of strings");

impl OneOrMany {
    /// Returns all strings.
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
    /// True if the last chunk carries the usage.
    #[serde(default)]
    pub include_usage: bool,
}

/// Token counts of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens of the prompt that were found in the cache.
    pub cached_tokens: usize,
    /// Tokens of the answers, thinking included.
    pub completion_tokens: usize,
    /// Tokens of the thinking.
    pub reasoning_tokens: usize,
}

impl Usage {
    /// The `usage` object of chat completions and completions.
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

/// The variables for the chat template in `chat_template_kwargs`.
pub type TemplateKwargs = Map<String, Value>;

/// Converts a value to the shortest decimal number that parses to it: 0.95 instead of 0.949999988079071.
pub fn decimal(value: Option<f32>) -> Value {
    value.and_then(|x| x.to_string().parse::<f64>().ok()).map_or(Value::Null, Value::from)
}

/// The current Unix time in seconds.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// A random number.
pub fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // Its keys are seeded by the operating system's random numbers and differ with every call.
    RandomState::new().hash_one(0u8)
}

/// A new id: `prefix` and 24 random hexadecimal digits.
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
