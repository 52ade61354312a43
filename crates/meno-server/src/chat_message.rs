//! Messages of chat requests.

use crate::error::{ApiError, shorten};
use crate::types::ToolCall;
use serde::Deserialize;

/// A message of a request.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub struct ChatMessage {
    /// `system`, `developer`, `user`, `assistant` or `tool`.
    pub role: String,
    /// The text of the message.
    #[serde(default)]
    pub content: Option<Content>,
    /// The thinking before the content, as this server returned it.
    #[serde(default)]
    pub reasoning_content: Option<String>,
    /// Another name for `reasoning_content`.
    #[serde(default)]
    pub reasoning: Option<String>,
    /// Tool calls of the assistant.
    #[serde(default)]
    pub tool_calls: Option<Vec<ToolCall>>,
    /// In a message of a tool: the id of the call that it answers.
    #[serde(default)]
    pub tool_call_id: Option<String>,
    /// The name of the author.
    #[serde(default)]
    pub name: Option<String>,
    /// In the last message: whether the answer continues it (DeepSeek's and Mistral's field).
    #[serde(default)]
    pub prefix: Option<bool>,
}

/// The content of a message: a string, or an array of parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A string.
    Text(String),
    /// An array of parts.
    Parts(Vec<ContentPart>),
}

crate::text_or_list::read_text_or_list!(Content, Text, Parts, "a string or an array of parts, each with its type");

/// A part of the content.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct ContentPart {
    /// `text` (or `input_text`, `output_text`, `refusal`).
    #[serde(rename = "type")]
    pub kind: String,
    /// The text.
    #[serde(default)]
    pub text: Option<String>,
}

impl Content {
    /// Returns the whole text; parts that are not text are an error. `param` is the field for errors.
    pub fn into_text(self, param: &str) -> Result<String, ApiError> {
        let parts = match self {
            Content::Text(text) => return Ok(text),
            Content::Parts(parts) => parts,
        };
        let texts = parts.into_iter().enumerate().map(|(i, part)| match (part.kind.as_str(), part.text) {
            ("text" | "input_text" | "output_text", Some(text)) => Ok(text),
            ("text" | "input_text" | "output_text", None) => {
                let place = format!("{param}[{i}].text");
                Err(ApiError::invalid(&place, format!("{place} is missing; expected a string")))
            }
            (kind, _) => {
                let place = format!("{param}[{i}]");
                let message = format!("{place} is a part of type {:?}; this model reads text only", shorten(kind));
                Err(ApiError::unsupported(&place, message))
            }
        });
        Ok(texts.collect::<Result<Vec<_>, _>>()?.join("\n"))
    }
}
