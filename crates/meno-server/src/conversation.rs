//! From the messages of a request to the prompt of the model.

use crate::error::{ApiError, shown};
use crate::model::Served;
use crate::thinking::Thinking;
use crate::tools::{instructions, written_call};
use crate::types::{TemplateKwargs, Tool, ToolCall};
use meno_engine::Message;
use meno_engine::reasoning::{CLOSE, OPEN};
use serde::Deserialize;
use serde_json::{Value, json};

/// A message of a request.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub struct ChatMessage {
    /// `system`, `developer`, `user`, `assistant` or `tool`.
    pub role: String,
    /// What was said.
    #[serde(default)]
    pub content: Option<Content>,
    /// The thought before it, as this server gave it.
    #[serde(default)]
    pub reasoning_content: Option<String>,
    /// The same under its other name.
    #[serde(default)]
    pub reasoning: Option<String>,
    /// Calls that the assistant made.
    #[serde(default)]
    pub tool_calls: Option<Vec<ToolCall>>,
    /// Of a tool's message: the call it answers.
    #[serde(default)]
    pub tool_call_id: Option<String>,
    /// Who speaks.
    #[serde(default)]
    pub name: Option<String>,
}

/// A text, or parts of one.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub enum Content {
    /// A text.
    Text(String),
    /// Parts.
    Parts(Vec<ContentPart>),
}

/// A part of a message.
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
    /// The whole text; an error for parts that are none.
    pub fn into_text(self, param: &str) -> Result<String, ApiError> {
        let parts = match self {
            Content::Text(text) => return Ok(text),
            Content::Parts(parts) => parts,
        };
        let texts = parts.into_iter().map(|part| match (part.kind.as_str(), part.text) {
            ("text" | "input_text" | "output_text", Some(text)) => Ok(text),
            (kind, _) => {
                let message = format!("{param}: a part of type {:?}; this model reads text only", shown(kind));
                Err(ApiError::unsupported(param, message))
            }
        });
        Ok(texts.collect::<Result<Vec<_>, _>>()?.join("\n"))
    }
}

/// What a prompt is made of.
#[derive(Clone, Debug, Default)]
pub struct Conversation {
    /// The messages.
    pub messages: Vec<ChatMessage>,
    /// Tools that the model is told of.
    pub tools: Vec<Tool>,
    /// Whether and how long it may think.
    pub thinking: Thinking,
    /// Further variables of the template.
    pub kwargs: TemplateKwargs,
}

/// A prompt, ready for the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Its text.
    pub text: String,
    /// Its tokens.
    pub tokens: Vec<u32>,
}

/// A conversation leads to a prompt, or to an answer that needs no model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Ask the model.
    Ask(Prompt),
    /// A model of few tasks was asked something else: this is what it says.
    Say(String),
}

/// The text of a [`Turn`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rendered {
    /// The prompt.
    Text {
        /// What the template wrote.
        text: String,
        /// Whether the tokenizer adds its own special tokens: a template writes all of them itself.
        add_special: bool,
    },
    /// The answer of [`Turn::Say`].
    Say(String),
}

impl Conversation {
    /// Renders and tokenizes. Takes processor time in proportion to the text; not for the event loop.
    pub fn turn(self, served: &Served) -> Result<Turn, ApiError> {
        match self.render(served)? {
            Rendered::Text { text, add_special } => Ok(Turn::Ask(served.encode(text, add_special)?)),
            Rendered::Say(text) => Ok(Turn::Say(text)),
        }
    }

    /// Renders, and leaves the tokens to the caller.
    pub fn render(self, served: &Served) -> Result<Rendered, ApiError> {
        if self.messages.is_empty() {
            return Err(ApiError::invalid("messages", "messages is empty; at least one is needed"));
        }
        if let Some(taught) = &served.taught {
            let last = self.messages.iter().rev().find(|m| m.role == "user").and_then(|m| m.content.clone());
            let line = last.map(|c| c.into_text("messages")).transpose()?.unwrap_or_default();
            return match taught.prompt(&line) {
                Some(text) => Ok(Rendered::Text { text, add_special: true }),
                None => Ok(Rendered::Say(format!("{}\n\n{}", taught.otherwise, taught.examples.join("\n")))),
            };
        }
        let thinking = self.thinking;
        let mut kwargs = self.kwargs.clone();
        let messages = self.for_template(served, &mut kwargs)?;
        let text = match &served.template {
            Some(template) => template.render(&messages, true, &kwargs)?,
            None => messages.iter().filter_map(|m| m.content.as_str()).collect::<Vec<_>>().join("\n"),
        };
        let text = if thinking.is_off() { without_thought(text, served) } else { text };
        Ok(Rendered::Text { text, add_special: served.template.is_none() })
    }

    /// The messages as the template wants them.
    fn for_template(self, served: &Served, kwargs: &mut TemplateKwargs) -> Result<Vec<Message>, ApiError> {
        if self.thinking.is_off() {
            for key in ["enable_thinking", "thinking"] {
                kwargs.entry(key).or_insert(false.into());
            }
        }
        let mut messages = Vec::new();
        for (i, message) in self.messages.into_iter().enumerate() {
            messages.push(message.for_template(i, served)?);
        }
        if !self.tools.is_empty() {
            if served.tools.lists_tools {
                kwargs.insert("tools".into(), json!(self.tools));
            } else {
                add_to_system(&mut messages, &instructions(served.tools.format, &self.tools));
            }
        }
        Ok(messages)
    }
}

impl ChatMessage {
    fn for_template(self, index: usize, served: &Served) -> Result<Message, ApiError> {
        let place = format!("messages[{index}]");
        let role = match self.role.as_str() {
            "developer" => "system",
            role @ ("system" | "user" | "assistant" | "tool") => role,
            other => {
                let message = format!(
                    "{place}.role is {:?}; expected \"system\", \"developer\", \"user\", \"assistant\" or \"tool\"",
                    shown(other)
                );
                return Err(ApiError::invalid("messages", message));
            }
        };
        let calls = self.tool_calls.unwrap_or_default();
        let text = self.content.map(|c| c.into_text(&format!("{place}.content"))).transpose()?;
        if text.is_none() && calls.is_empty() && role != "assistant" {
            return Err(ApiError::invalid("messages", format!("{place}.content is missing")));
        }
        let mut message = Message::new(role, text.unwrap_or_default());
        if let Some(name) = self.name {
            message.extra.insert("name".into(), name.into());
        }
        if role == "assistant" {
            if let Some(thought) = self.reasoning_content.or(self.reasoning) {
                message.extra.insert("reasoning_content".into(), thought.clone().into());
                message.extra.insert("reasoning".into(), thought.into());
            }
            if !calls.is_empty() {
                add_calls(&mut message, calls, &place, served)?;
            }
        }
        if role == "tool" {
            if let Some(id) = self.tool_call_id {
                message.extra.insert("tool_call_id".into(), id.into());
            }
            if !served.tools.shows_results {
                let text = message.content.as_str().unwrap_or_default();
                return Ok(Message::new("user", format!("<tool_response>\n{text}\n</tool_response>")));
            }
        }
        Ok(message)
    }
}

/// The assistant's calls, in the form that the template takes.
fn add_calls(message: &mut Message, calls: Vec<ToolCall>, place: &str, served: &Served) -> Result<(), ApiError> {
    let mut list = Vec::new();
    for (i, call) in calls.into_iter().enumerate() {
        let text = match call.function.arguments.trim() {
            "" => "{}",
            text => text,
        };
        let object: Value = serde_json::from_str(text).map_err(|e| {
            let message = format!("{place}.tool_calls[{i}].function.arguments is not JSON: {e}");
            ApiError::invalid("messages", message)
        })?;
        let name = call.function.name;
        match served.tools.calls_as_objects {
            None => list.push(written_call(served.tools.format, &name, text).into()),
            Some(as_object) => {
                let arguments = if as_object { object } else { text.into() };
                let function = json!({ "name": name, "arguments": arguments });
                list.push(json!({ "id": call.id, "type": "function", "function": function }));
            }
        }
    }
    if served.tools.calls_as_objects.is_none() {
        let text = message.content.as_str().unwrap_or_default();
        let lines = [text].into_iter().chain(list.iter().filter_map(Value::as_str)).filter(|l| !l.is_empty());
        message.content = lines.collect::<Vec<_>>().join("\n").into();
    } else {
        message.extra.insert("tool_calls".into(), list.into());
        if message.content.as_str() == Some("") {
            message.content = Value::Null; // what Python's clients send, and templates ask for
        }
    }
    Ok(())
}

fn add_to_system(messages: &mut Vec<Message>, text: &str) {
    match messages.first_mut() {
        Some(first) if first.role == "system" => {
            first.content = format!("{}\n\n{text}", first.content.as_str().unwrap_or_default()).into();
        }
        _ => messages.insert(0, Message::new("system", text)),
    }
}

/// A prompt after which the answer comes at once: a thought that the template opened is closed, and a model that
/// opens thoughts itself is shown an empty one.
fn without_thought(mut text: String, served: &Served) -> String {
    let end = text.trim_end();
    if end.ends_with(OPEN) {
        text.truncate(end.len());
        text += &format!("\n\n{CLOSE}\n\n");
    } else if served.thinks && !end.ends_with(CLOSE) {
        text += &format!("{OPEN}\n\n{CLOSE}\n\n");
    }
    text
}
