//! `POST /v1/messages` and `/v1/messages/count_tokens`: Anthropic's API, over the same chat as OpenAI's.

mod errors;
mod events;
mod input;

pub(crate) use errors::shape as shape_errors;

use crate::answer::Whole;
use crate::app::Server;
use crate::body::{self, Posted};
use crate::chat_completions::{ChatRequest, Gathered};
use crate::clients::Work;
use crate::embeddings::base64;
use crate::error::{ApiError, shown};
use crate::fields::read_value;
use crate::stream;
use crate::types::{OneOrMany, TemplateKwargs, Usage, new_id};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use events::Events;
use input::{Blocks, InputMessage};
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::sync::Arc;

/// The first version of the API with events that this server tells.
const OLDEST: &str = "2023-06-01";

/// A request, in Anthropic's fields. A field that is not listed is refused by its name, as Anthropic's server does.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)] // Anthropic's reference documents them
pub struct MessagesRequest {
    pub model: Option<String>,
    pub max_tokens: Option<usize>,
    pub messages: Vec<InputMessage>,
    pub system: Option<Blocks>,
    pub stop_sequences: Option<Vec<String>>,
    pub stream: Option<bool>,
    pub temperature: Option<f32>,
    pub top_p: Option<f32>,
    pub top_k: Option<i64>,
    pub thinking: Option<Value>,
    pub tools: Option<Vec<Value>>,
    pub tool_choice: Option<Value>,
    pub output_config: Option<Value>,
    pub output_format: Option<Value>,
    /// Of this server: names the random numbers.
    pub seed: Option<i64>,
    /// Of this server: variables of the template.
    pub chat_template_kwargs: Option<TemplateKwargs>,
    pub container: Option<Value>,
    pub mcp_servers: Option<Value>,
    pub context_management: Option<Value>,
    // These change nothing in an answer.
    pub metadata: Option<IgnoredAny>,
    pub service_tier: Option<IgnoredAny>,
    pub cache_control: Option<IgnoredAny>,
    pub inference_geo: Option<IgnoredAny>,
    pub speed: Option<IgnoredAny>,
    pub diagnostics: Option<IgnoredAny>,
    pub user_profile_id: Option<IgnoredAny>,
    pub workspace_id: Option<IgnoredAny>,
}

/// Answers a request.
pub async fn answer(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    posted: Posted,
) -> Result<Response, ApiError> {
    check_version(&headers)?;
    let started = posted.run(&server, Work::Answer, |request: Value, server, client| {
        let request: MessagesRequest = read_value(request)?;
        let stream = request.stream == Some(true);
        if request.max_tokens.is_none() {
            return Err(ApiError::invalid("max_tokens", "max_tokens: Field required"));
        }
        let frame = Frame { id: new_id("msg_"), model: server.model.name.clone() };
        Ok((request.into_chat()?.start(server, client)?, frame, stream))
    });
    let (mut generation, frame, stream) = started.await?;
    if stream {
        let usage = generation.usage();
        return Ok(stream::respond(generation, Events::new(frame, usage)));
    }
    let mut answers: Vec<Gathered> = generation.collect(1, Gathered::add).await?;
    let answer = answers.pop().unwrap_or_default();
    let (reason, sequence) = stop_reason(answer.finish, answer.stop);
    Ok(body::json(&frame.message(content(answer.whole), reason, sequence, usage(generation.usage()))))
}

/// Counts the tokens that a request would ask the model with.
pub async fn count_tokens(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    posted: Posted,
) -> Result<Response, ApiError> {
    check_version(&headers)?;
    let counted = posted.run(&server, Work::Tokens, |request: Value, server, _| {
        let request: MessagesRequest = read_value(request)?;
        let conversation = request.into_chat()?.asked(server)?.conversation;
        // Without tokens the model is not asked.
        let tokens = conversation.tokens(&server.model)?.map_or(0, |tokens| tokens.len());
        Ok(body::json(&json!({ "input_tokens": tokens })))
    });
    counted.await
}

/// Clients name the version that they speak by its date; a missing header is taken for the oldest one. What later versions
/// changed is in fields that are read or refused by their names. `anthropic-beta` is not read: what it turns on is a field
/// of the request, too, or changes no answer.
fn check_version(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(given) = headers.get("anthropic-version").map(|v| v.to_str().unwrap_or_default()) else { return Ok(()) };
    let is_date = given.len() == OLDEST.len()
        && given.bytes().zip(OLDEST.bytes()).all(|(a, b)| if b == b'-' { a == b'-' } else { a.is_ascii_digit() });
    if is_date && given >= OLDEST {
        return Ok(());
    }
    let message = format!("anthropic-version: {:?}; expected a date from {OLDEST} on", shown(given));
    Err(ApiError::invalid("anthropic-version", message))
}

impl MessagesRequest {
    /// The same as a chat of OpenAI's API.
    fn into_chat(self) -> Result<ChatRequest, ApiError> {
        for (param, given) in [
            ("container", &self.container),
            ("mcp_servers", &self.mcp_servers),
            ("context_management", &self.context_management),
        ] {
            check_unused(param, given.as_ref())?;
        }
        let format = input::format(self.output_config.as_ref(), self.output_format.as_ref())?;
        let effort = self.output_config.as_ref().and_then(|c| c.get("effort")).filter(|e| !e.is_null());
        let (thinking, reasoning_effort) = input::thinking(self.thinking, effort, self.max_tokens)?;
        let (tool_choice, parallel_tool_calls) = input::tool_choice(self.tool_choice.as_ref())?;
        let tools = self.tools.unwrap_or_default().into_iter().enumerate();
        let messages = input::messages(self.system, self.messages)?;
        // A last message of the assistant is the beginning of its answer.
        let begun = messages.last().is_some_and(|m| m.role == "assistant" && m.tool_calls.is_none());
        Ok(ChatRequest {
            model: self.model,
            messages,
            continue_final_message: begun.then_some(true),
            max_completion_tokens: self.max_tokens,
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            seed: self.seed,
            stop: self.stop_sequences.map(OneOrMany::Many),
            tools: Some(tools.map(input::tool).collect::<Result<_, _>>()?),
            tool_choice,
            parallel_tool_calls,
            response_format: format,
            thinking,
            reasoning_effort,
            chat_template_kwargs: self.chat_template_kwargs,
            ..Default::default()
        })
    }
}

/// Refuses what would change the answer and is not offered. Edits of the context that only clear old thoughts are what
/// chat templates do anyway.
fn check_unused(param: &str, value: Option<&Value>) -> Result<(), ApiError> {
    let nothing = match value {
        None | Some(Value::Null) => true,
        Some(Value::Array(list)) => list.is_empty(),
        Some(object) if param == "context_management" => {
            let edits = object["edits"].as_array().map(Vec::as_slice).unwrap_or_default();
            edits.iter().all(|e| e["type"].as_str().is_some_and(|kind| kind.starts_with("clear_thinking_")))
        }
        Some(_) => false,
    };
    if nothing { Ok(()) } else { Err(ApiError::unsupported(param, format!("{param}: not offered by this server"))) }
}

/// The message around its content.
struct Frame {
    id: String,
    model: String,
}

impl Frame {
    fn message(&self, content: Vec<Value>, reason: Option<&str>, sequence: Option<String>, usage: Value) -> Value {
        json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": content,
            "stop_reason": reason, "stop_sequence": sequence, "usage": usage,
        })
    }
}

/// Anthropic's word for why an answer ended, and the stop sequence that ended it.
fn stop_reason(finish: Option<&str>, stop: Option<String>) -> (Option<&'static str>, Option<String>) {
    match finish {
        Some("length") => (Some("max_tokens"), None),
        Some("tool_calls") => (Some("tool_use"), None),
        _ if stop.is_some() => (Some("stop_sequence"), stop),
        _ => (Some("end_turn"), None),
    }
}

/// Token counts; tokens found in the cache are counted separately.
fn usage(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.prompt_tokens.saturating_sub(usage.cached_tokens),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    })
}

/// The blocks of an answer; there is at least one.
fn content(whole: Whole) -> Vec<Value> {
    let mut blocks = Vec::new();
    if !whole.reasoning.is_empty() {
        let signature = signature(&whole.reasoning);
        blocks.push(json!({ "type": "thinking", "thinking": whole.reasoning, "signature": signature }));
    }
    if !whole.content.is_empty() || whole.calls.is_empty() {
        blocks.push(json!({ "type": "text", "text": whole.content }));
    }
    for (name, arguments) in whole.calls {
        // Arguments that were cut off are no JSON; they are not lost.
        let input = serde_json::from_str(if arguments.trim().is_empty() { "{}" } else { &arguments });
        let input = input.ok().filter(Value::is_object).unwrap_or_else(|| json!({ "INVALID_JSON": arguments }));
        blocks.push(json!({ "type": "tool_use", "id": new_id("toolu_"), "name": name, "input": input }));
    }
    blocks
}

/// A digest of a thought. Clients want a signature to send the thought back with; nothing here is signed or checked.
fn signature(thought: &str) -> String {
    base64(digest(&SHA256, thought.as_bytes()).as_ref())
}
