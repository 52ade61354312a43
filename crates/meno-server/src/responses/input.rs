//! The `input` field: a text, or items (messages, function calls and their results, earlier thinking).

use crate::chat_message::{ChatMessage, Content, ContentPart};
use crate::error::{ApiError, shorten};
use crate::types::{CalledFunction, ToolCall};
use serde::Deserialize;

/// The `input` field.
#[derive(Clone, Debug)]
pub enum Input {
    /// A message of the user.
    Text(String),
    /// A conversation.
    Items(Vec<Item>),
}

crate::text_or_list::read_text_or_list!(Input, Text, Items, "a string or an array of items");

/// An item of a conversation; which fields it has depends on its type.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Item {
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub role: Option<String>,
    pub content: Option<Content>,
    pub call_id: Option<String>,
    pub name: Option<String>,
    pub arguments: Option<String>,
    pub input: Option<String>,
    pub output: Option<Content>,
}

/// Returns a message with plain text.
pub(super) fn message(role: &str, text: String) -> ChatMessage {
    ChatMessage { role: role.into(), content: Some(Content::Text(text)), ..ChatMessage::default() }
}

impl Input {
    /// Converts the input to chat messages. Thinking is added to the message or calls that follow it. Consecutive calls
    /// become one message.
    pub(super) fn into_messages(self) -> Result<Vec<ChatMessage>, ApiError> {
        let items = match self {
            Input::Text(text) => return Ok(vec![message("user", text)]),
            Input::Items(items) => items,
        };
        let mut messages: Vec<ChatMessage> = Vec::new();
        let mut thought = None;
        for (i, item) in items.into_iter().enumerate() {
            match item.kind.as_deref() {
                None | Some("message") => {
                    let role = item.role.unwrap_or_else(|| "user".into());
                    let reasoning_content = if role == "assistant" { thought.take() } else { None };
                    messages.push(ChatMessage { role, content: item.content, reasoning_content, ..Default::default() });
                }
                Some("reasoning") => thought = item.content.map(reasoning_text),
                Some("function_call") => {
                    let function = CalledFunction {
                        name: item.name.unwrap_or_default(),
                        arguments: item.arguments.unwrap_or_default(),
                    };
                    let id = item.call_id.unwrap_or_default();
                    add_call(&mut messages, ToolCall { id, kind: "function".into(), function }, thought.take());
                }
                Some("custom_tool_call") => {
                    let input = item.input.unwrap_or_default();
                    let function = CalledFunction::custom(item.name.unwrap_or_default(), &input);
                    let id = item.call_id.unwrap_or_default();
                    add_call(&mut messages, ToolCall { id, kind: "function".into(), function }, thought.take());
                }
                Some("function_call_output" | "custom_tool_call_output") => {
                    let tool_call_id = item.call_id;
                    messages.push(ChatMessage {
                        role: "tool".into(),
                        content: item.output,
                        tool_call_id,
                        ..Default::default()
                    });
                }
                Some(other) => {
                    let message =
                        format!("input[{i}]: this server does not support items of type {:?}", shorten(other));
                    return Err(ApiError::unsupported("input", message));
                }
            }
        }
        Ok(messages)
    }
}

fn reasoning_text(content: Content) -> String {
    match content {
        Content::Text(text) => text,
        Content::Parts(parts) => parts.into_iter().filter_map(|ContentPart { text, .. }| text).collect(),
    }
}

fn add_call(messages: &mut Vec<ChatMessage>, call: ToolCall, thought: Option<String>) {
    match messages.last_mut() {
        Some(last) if last.role == "assistant" && thought.is_none() => {
            last.tool_calls.get_or_insert_default().push(call);
        }
        _ => messages.push(ChatMessage {
            role: "assistant".into(),
            reasoning_content: thought,
            tool_calls: Some(vec![call]),
            ..Default::default()
        }),
    }
}
