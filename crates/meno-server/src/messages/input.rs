//! Converts Anthropic's messages, tools and settings to those of chat requests.

use crate::chat_message::{ChatMessage, Content, ContentPart};
use crate::error::{ApiError, shorten};
use crate::types::{CalledFunction, Function, Tool, ToolCall};
use serde::Deserialize;
use serde_json::{Value, json};

/// A message of a request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub(crate) struct InputMessage {
    pub role: String,
    pub content: Option<Blocks>,
}

/// A string, or a list of blocks.
#[derive(Debug)]
#[allow(missing_docs)]
pub(crate) enum Blocks {
    Text(String),
    Blocks(Vec<Block>),
}

crate::text_or_list::read_text_or_list!(Blocks, Text, Blocks, "a string or an array of blocks");

/// A block. Its fields depend on its type. Annotations such as `cache_control` are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub(crate) struct Block {
    #[serde(rename = "type")]
    pub kind: String,
    pub text: Option<String>,
    pub thinking: Option<String>,
    pub id: Option<String>,
    pub name: Option<String>,
    pub input: Option<Value>,
    pub tool_use_id: Option<String>,
    pub content: Option<Blocks>,
    pub is_error: Option<bool>,
    pub source: Option<Value>,
}

fn invalid(place: &str, what: &str) -> ApiError {
    ApiError::invalid("messages", format!("{place}: {what}"))
}

fn part(text: String) -> ContentPart {
    ContentPart { kind: "text".into(), text: Some(text) }
}

/// Returns the text of a block; blocks that are not text are an error that names their type.
fn text_of(block: Block, place: &str) -> Result<String, ApiError> {
    match (block.kind.as_str(), block.text) {
        ("text", Some(text)) => Ok(text),
        ("text", None) => Err(invalid(&format!("{place}.text"), "Field required")),
        // Documents in plain text are treated as text.
        ("document", _) if block.source.as_ref().is_some_and(|s| s["type"] == "text") => {
            let text = block.source.as_ref().and_then(|s| s["data"].as_str());
            text.map(str::to_owned).ok_or_else(|| invalid(place, "a document has no data"))
        }
        (kind, _) => {
            let message = format!("{place}: a block of type {:?}; this model reads text only", shorten(kind));
            Err(ApiError::unsupported("messages", message))
        }
    }
}

impl Blocks {
    fn into_blocks(self) -> Vec<Block> {
        match self {
            Blocks::Text(text) => vec![Block { kind: "text".into(), text: Some(text), ..Block::default() }],
            Blocks::Blocks(blocks) => blocks,
        }
    }

    /// Returns the content as text.
    fn into_content(self, place: &str) -> Result<Content, ApiError> {
        if let Blocks::Text(text) = self {
            return Ok(Content::Text(text));
        }
        let blocks = self.into_blocks().into_iter().enumerate();
        let parts = blocks.map(|(i, block)| Ok(part(text_of(block, &format!("{place}.{i}"))?)));
        Ok(Content::Parts(parts.collect::<Result<_, ApiError>>()?))
    }
}

/// Converts the messages, with the system message first. Tool results become separate messages.
pub(super) fn messages(system: Option<Blocks>, messages: Vec<InputMessage>) -> Result<Vec<ChatMessage>, ApiError> {
    if messages.is_empty() {
        return Err(ApiError::invalid("messages", "messages: at least one message is required"));
    }
    let mut chat = Vec::new();
    if let Some(system) = system {
        let content = Some(system.into_content("system")?);
        chat.push(ChatMessage { role: "system".into(), content, ..ChatMessage::default() });
    }
    for (i, message) in messages.into_iter().enumerate() {
        let place = format!("messages.{i}");
        let content = message.content.ok_or_else(|| invalid(&format!("{place}.content"), "Field required"))?;
        match message.role.as_str() {
            "user" => user(content, &place, &mut chat)?,
            "assistant" => chat.push(assistant(content, &place)?),
            other => {
                let what =
                    format!("{:?}; expected \"user\" or \"assistant\" (system is a separate field)", shorten(other));
                return Err(invalid(&format!("{place}.role"), &what));
            }
        }
    }
    Ok(chat)
}

fn user(content: Blocks, place: &str, chat: &mut Vec<ChatMessage>) -> Result<(), ApiError> {
    if let Blocks::Text(text) = content {
        chat.push(ChatMessage { role: "user".into(), content: Some(Content::Text(text)), ..ChatMessage::default() });
        return Ok(());
    }
    let mut parts = Vec::new();
    let flush = |parts: &mut Vec<ContentPart>, chat: &mut Vec<ChatMessage>| {
        if !parts.is_empty() {
            let content = Some(Content::Parts(std::mem::take(parts)));
            chat.push(ChatMessage { role: "user".into(), content, ..ChatMessage::default() });
        }
    };
    let blocks = content.into_blocks();
    if blocks.is_empty() {
        return Err(invalid(&format!("{place}.content"), "it is empty"));
    }
    for (i, block) in blocks.into_iter().enumerate() {
        let place = format!("{place}.content.{i}");
        if block.kind != "tool_result" {
            parts.push(part(text_of(block, &place)?));
            continue;
        }
        flush(&mut parts, chat);
        let content = block.content.unwrap_or(Blocks::Text(String::new()));
        let mut text = content.into_content(&format!("{place}.content"))?.into_text("messages")?;
        if block.is_error == Some(true) && !text.to_lowercase().starts_with("error") {
            text = format!("Error: {text}"); // chat templates have no other way to show it
        }
        let tool_call_id = block.tool_use_id;
        chat.push(ChatMessage {
            role: "tool".into(),
            content: Some(Content::Text(text)),
            tool_call_id,
            ..Default::default()
        });
    }
    flush(&mut parts, chat);
    Ok(())
}

fn assistant(content: Blocks, place: &str) -> Result<ChatMessage, ApiError> {
    let mut message = ChatMessage { role: "assistant".into(), ..ChatMessage::default() };
    let (mut parts, mut thought, mut calls) = (Vec::new(), String::new(), Vec::new());
    for (i, block) in content.into_blocks().into_iter().enumerate() {
        let place = format!("{place}.content.{i}");
        match block.kind.as_str() {
            "thinking" => thought.push_str(&block.thinking.unwrap_or_default()),
            "redacted_thinking" => {} // encrypted; only the server that wrote it can read it
            "tool_use" => {
                let name = block.name.ok_or_else(|| invalid(&place, "a tool_use block without name"))?;
                let arguments = block.input.unwrap_or_else(|| json!({})).to_string();
                let function = CalledFunction { name, arguments };
                calls.push(ToolCall { id: block.id.unwrap_or_default(), kind: "function".into(), function });
            }
            _ => parts.push(part(text_of(block, &place)?)),
        }
    }
    message.content = (!parts.is_empty()).then_some(Content::Parts(parts));
    message.reasoning_content = (!thought.is_empty()).then_some(thought);
    message.tool_calls = (!calls.is_empty()).then_some(calls);
    Ok(message)
}

/// Converts a tool.
pub(super) fn tool((i, value): (usize, Value)) -> Result<Tool, ApiError> {
    let kind = value["type"].as_str().unwrap_or("custom");
    if kind != "custom" {
        let message = format!("tools.{i}: a tool of type {:?}; this server supports only custom tools", shorten(kind));
        return Err(ApiError::unsupported("tools", message));
    }
    let Some(name) = value["name"].as_str() else {
        return Err(ApiError::invalid("tools", format!("tools.{i}.name: Field required")));
    };
    let Some(schema) = value.get("input_schema").filter(|s| s.is_object()) else {
        return Err(ApiError::invalid("tools", format!("tools.{i}.input_schema: an object is required")));
    };
    let description = value["description"].as_str().map(str::to_owned);
    let strict = value["strict"].as_bool();
    let (name, parameters) = (name.to_owned(), Some(schema.clone()));
    let function = Function { name, description, parameters, strict, ..Default::default() };
    Ok(Tool { kind: "function".into(), function })
}

/// Converts `tool_choice`. Also returns whether parallel calls are allowed, if the request says so.
pub(super) fn tool_choice(value: Option<&Value>) -> Result<(Option<Value>, Option<bool>), ApiError> {
    let Some(value) = value.filter(|v| !v.is_null()) else { return Ok((None, None)) };
    let choice = match (value["type"].as_str(), value["name"].as_str()) {
        (Some("auto"), _) => json!("auto"),
        (Some("any"), _) => json!("required"),
        (Some("none"), _) => json!("none"),
        (Some("tool"), Some(name)) => json!({ "type": "function", "function": { "name": name } }),
        _ => {
            let message = "tool_choice: expected {\"type\": \"auto\"}, \"any\", \"none\", or \"tool\" with a name";
            return Err(ApiError::invalid("tool_choice", message));
        }
    };
    let single = value["disable_parallel_tool_use"].as_bool() == Some(true);
    Ok((Some(choice), single.then_some(false)))
}

/// Converts `thinking`, and returns the effort. As with Anthropic's models, thinking is off by default, because
/// clients then expect text in the first block.
pub(super) fn thinking(
    value: Option<Value>,
    effort: Option<&Value>,
    max_tokens: Option<usize>,
) -> Result<(Option<Value>, Option<String>), ApiError> {
    let off = || Some(json!({ "type": "disabled" }));
    let Some(value) = value.filter(|v| !v.is_null()) else { return Ok((off(), None)) };
    match value["type"].as_str() {
        Some("disabled") => Ok((off(), None)),
        Some("adaptive") => {
            let effort = match effort.map(|e| (e, e.as_str())) {
                None => None,
                Some((_, Some("max"))) => Some("high".to_owned()),
                Some((_, Some(effort))) => Some(effort.to_owned()),
                Some((other, None)) => {
                    let message = format!("output_config.effort: {other} is not a string");
                    return Err(ApiError::invalid("output_config", message));
                }
            };
            Ok((None, effort))
        }
        Some("enabled") => {
            let budget = &value["budget_tokens"];
            match (budget.as_u64(), max_tokens) {
                (Some(budget), Some(most)) if budget >= most as u64 => {
                    let message =
                        "max_tokens must be greater than thinking.budget_tokens: the answer comes after the thought";
                    Err(ApiError::invalid("max_tokens", message))
                }
                (Some(1..), _) => Ok((Some(value), None)),
                (None, _) if budget.is_null() => Ok((None, None)),
                _ => {
                    let message = format!("thinking.budget_tokens: {budget}; expected a number of tokens");
                    Err(ApiError::invalid("thinking", message))
                }
            }
        }
        _ => {
            let message = "thinking.type: expected \"enabled\", \"adaptive\" or \"disabled\"";
            Err(ApiError::invalid("thinking", message))
        }
    }
}

/// Converts `output_config.format`, or its older name `output_format`, to a `response_format`.
pub(super) fn format(config: Option<&Value>, older: Option<&Value>) -> Result<Option<Value>, ApiError> {
    let newer = config.and_then(|c| c.get("format"));
    let Some(format) = newer.or(older).filter(|f| !f.is_null()) else { return Ok(None) };
    match (format["type"].as_str(), format.get("schema")) {
        (Some("json_schema"), Some(schema)) => Ok(Some(
            json!({ "type": "json_schema", "json_schema": { "name": "answer", "schema": schema, "strict": true } }),
        )),
        _ => {
            let message = "output_config.format: expected {\"type\": \"json_schema\", \"schema\": …}";
            Err(ApiError::invalid("output_config", message))
        }
    }
}
