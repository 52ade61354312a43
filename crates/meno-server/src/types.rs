//! What several endpoints have in common, in OpenAI's field names.

use crate::error::{ApiError, shown};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Most stop strings of a request.
pub const MAX_STOPS: usize = 16;
/// Most answers to one request.
pub const MAX_N: usize = 128;
/// Most alternatives per token.
pub const MAX_TOP_LOGPROBS: usize = 20;

/// One string or several.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

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
}

/// A tool of a request.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
pub struct Tool {
    /// `function`, the only kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// The function.
    pub function: Function,
}

/// A function that the model may call.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// What it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The JSON schema of its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Value>,
    /// Whether arguments must follow the schema to the letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
}

impl Tool {
    /// The function alone, as JSON.
    pub fn function_json(&self) -> Value {
        json!(self.function)
    }

    /// The schema of the arguments; any object where none is given.
    pub fn schema(&self) -> Value {
        self.function.parameters.clone().unwrap_or_else(|| json!({ "type": "object" }))
    }
}

/// `tool_choice`, settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// No calls.
    None,
    /// As the model likes.
    Auto,
    /// At least one call.
    Required,
    /// A call of this function.
    Named(String),
}

impl ToolChoice {
    /// Reads `tool_choice`: a word, or `{"type": "function", "function": {"name": …}}`, or, as in the Responses API,
    /// `{"type": "function", "name": …}`.
    pub fn read(value: Option<&Value>, tools: &[Tool]) -> Result<ToolChoice, ApiError> {
        let expected =
            "expected \"none\", \"auto\", \"required\" or {\"type\": \"function\", \"function\": {\"name\": …}}";
        let choice = match value {
            None | Some(Value::Null) => return Ok(if tools.is_empty() { ToolChoice::None } else { ToolChoice::Auto }),
            Some(Value::String(word)) => match word.as_str() {
                "none" => return Ok(ToolChoice::None),
                "auto" => ToolChoice::Auto,
                "required" | "any" => ToolChoice::Required,
                other => {
                    return Err(ApiError::invalid(
                        "tool_choice",
                        format!("tool_choice {:?}: {expected}", shown(other)),
                    ));
                }
            },
            Some(object) => {
                let name = object["function"]["name"].as_str().or(object["name"].as_str());
                let name = name.ok_or_else(|| ApiError::invalid("tool_choice", format!("tool_choice: {expected}")))?;
                if !tools.iter().any(|t| t.function.name == name) {
                    let message =
                        format!("tool_choice names the function {:?}, which is not among the tools", shown(name));
                    return Err(ApiError::invalid("tool_choice", message));
                }
                ToolChoice::Named(name.to_owned())
            }
        };
        if tools.is_empty() && choice != ToolChoice::Auto {
            return Err(ApiError::invalid("tool_choice", "tool_choice asks for a call, but there are no tools"));
        }
        Ok(if tools.is_empty() { ToolChoice::None } else { choice })
    }
}

/// A call in the history or in an answer.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct ToolCall {
    /// Its name in the conversation.
    #[serde(default)]
    pub id: String,
    /// `function`.
    #[serde(rename = "type", default = "function")]
    pub kind: String,
    /// What is called.
    pub function: CalledFunction,
}

fn function() -> String {
    "function".to_owned()
}

/// A function with the arguments of a call.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct CalledFunction {
    /// The function's name.
    pub name: String,
    /// JSON text.
    #[serde(default)]
    pub arguments: String,
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
    /// As chat and completions tell it.
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
    fn tool_choice_by_hand() {
        let tool: Tool = serde_json::from_value(json!({"type": "function", "function": {"name": "f"}})).unwrap();
        let tools = [tool];
        let read = |v: Value| ToolChoice::read(Some(&v), &tools);
        assert_eq!(ToolChoice::read(None, &tools).unwrap(), ToolChoice::Auto);
        assert_eq!(ToolChoice::read(None, &[]).unwrap(), ToolChoice::None);
        assert_eq!(read(json!("required")).unwrap(), ToolChoice::Required);
        assert_eq!(read(json!("none")).unwrap(), ToolChoice::None);
        let named = json!({"type": "function", "function": {"name": "f"}});
        assert_eq!(read(named).unwrap(), ToolChoice::Named("f".into()));
        assert!(read(json!({"function": {"name": "g"}})).unwrap_err().message.contains("\"g\""));
        assert!(read(json!("perhaps")).unwrap_err().message.contains("perhaps"));
        assert!(ToolChoice::read(Some(&json!("required")), &[]).is_err());
    }

    #[test]
    fn names_do_not_repeat() {
        let ids: std::collections::HashSet<String> = (0..100).map(|_| new_id("call_")).collect();
        assert!(ids.len() == 100 && ids.iter().all(|id| id.len() == 29));
    }
}
