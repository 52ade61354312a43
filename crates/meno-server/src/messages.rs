//! `POST /v1/messages` and `/v1/messages/count_tokens`: Anthropic's API, converted to chat requests.

mod errors;
mod frame;
mod input;
mod reply;

pub(crate) use errors::shape as shape_errors;

use crate::body::{self, JsonBody};
use crate::chat_completions::ChatRequest;
use crate::clients::{Client, WorkKind};
use crate::error::{ApiError, shorten};
use crate::fields::read_value;
use crate::generation_fields::SamplingFields;
use crate::request::{self, Started};
use crate::state::Server;
use crate::types::{OneOrMany, TemplateKwargs};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use frame::MessageFrame;
use input::{Blocks, InputMessage};
use reply::MessageReply;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::sync::Arc;

/// The first version of the API with the events that this server sends.
const OLDEST_VERSION: &str = "2023-06-01";

/// A request, with Anthropic's fields. As in Anthropic's server, unknown fields are an error, so the sampling fields
/// are listed here and not flattened into [`SamplingFields`].
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)] // documented in Anthropic's reference
pub(crate) struct MessagesRequest {
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
    /// Field of this server: the seed of the random numbers.
    pub seed: Option<i64>,
    /// Field of this server: variables for the chat template.
    pub chat_template_kwargs: Option<TemplateKwargs>,
    pub container: Option<Value>,
    pub mcp_servers: Option<Value>,
    pub context_management: Option<Value>,
    // These have no effect on the answer.
    pub metadata: Option<IgnoredAny>,
    pub service_tier: Option<IgnoredAny>,
    pub cache_control: Option<IgnoredAny>,
    pub inference_geo: Option<IgnoredAny>,
    pub speed: Option<IgnoredAny>,
    pub diagnostics: Option<IgnoredAny>,
    pub user_profile_id: Option<IgnoredAny>,
    pub workspace_id: Option<IgnoredAny>,
}

/// Handles `POST /v1/messages`.
pub(crate) async fn create(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, ApiError> {
    check_version(&headers)?;
    let start = |request: Value, server: &Arc<Server>, client: &Client| {
        let request: MessagesRequest = read_value(request)?;
        let stream = request.stream == Some(true);
        if request.max_tokens.is_none() {
            return Err(ApiError::invalid("max_tokens", "max_tokens: Field required"));
        }
        let generation = request.into_chat()?.start(server, client)?;
        let reply = MessageReply::new(MessageFrame::new(server.model.name.clone()), generation.usage());
        Ok(Started { generation, reply, stream })
    };
    request::create(&server, body, start).await
}

/// Handles `POST /v1/messages/count_tokens`: counts the tokens of the prompt.
pub(crate) async fn count_tokens(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, ApiError> {
    check_version(&headers)?;
    let counted = body.process(&server, WorkKind::Tokens, |request: Value, server, _| {
        let request: MessagesRequest = read_value(request)?;
        let conversation = request.into_chat()?.prepare(server)?.conversation;
        // There are no tokens if the model is not needed.
        let tokens = conversation.tokens(&server.model)?.map_or(0, |tokens| tokens.len());
        Ok(body::json(&json!({ "input_tokens": tokens })))
    });
    counted.await
}

/// Checks the `anthropic-version` header: a date, at least the oldest version. A missing header means the oldest
/// version. Later versions differ only in fields, which are read or rejected by name. `anthropic-beta` is ignored,
/// because what it enables is also a field of the request or does not affect the answer.
fn check_version(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(given) = headers.get("anthropic-version").map(|v| v.to_str().unwrap_or_default()) else { return Ok(()) };
    let is_date = given.len() == OLDEST_VERSION.len()
        && given
            .bytes()
            .zip(OLDEST_VERSION.bytes())
            .all(|(a, b)| if b == b'-' { a == b'-' } else { a.is_ascii_digit() });
    if is_date && given >= OLDEST_VERSION {
        return Ok(());
    }
    let message = format!("anthropic-version: {:?}; expected a date from {OLDEST_VERSION} on", shorten(given));
    Err(ApiError::invalid("anthropic-version", message))
}

impl MessagesRequest {
    /// Converts the request to a chat request.
    fn into_chat(self) -> Result<ChatRequest, ApiError> {
        for (param, given) in [
            ("container", &self.container),
            ("mcp_servers", &self.mcp_servers),
            ("context_management", &self.context_management),
        ] {
            check_unsupported(param, given.as_ref())?;
        }
        let format = input::format(self.output_config.as_ref(), self.output_format.as_ref())?;
        let effort = self.output_config.as_ref().and_then(|c| c.get("effort")).filter(|e| !e.is_null());
        let (thinking, reasoning_effort) = input::thinking(self.thinking, effort, self.max_tokens)?;
        let (tool_choice, parallel_tool_calls) = input::tool_choice(self.tool_choice.as_ref())?;
        let tools = self.tools.unwrap_or_default().into_iter().enumerate();
        let messages = input::messages(self.system, self.messages)?;
        // If the last message is the assistant's, the answer continues it.
        let begun = messages.last().is_some_and(|m| m.role == "assistant" && m.tool_calls.is_none());
        Ok(ChatRequest {
            model: self.model,
            messages,
            continue_final_message: begun.then_some(true),
            max_completion_tokens: self.max_tokens,
            sampling: SamplingFields {
                temperature: self.temperature,
                top_p: self.top_p,
                top_k: self.top_k,
                seed: self.seed,
                stop: self.stop_sequences.map(OneOrMany::Many),
                ..Default::default()
            },
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

/// Rejects features that would change the answer and are not supported. Context edits that only clear old thinking are
/// accepted, because chat templates do the same.
fn check_unsupported(param: &str, value: Option<&Value>) -> Result<(), ApiError> {
    let nothing = match value {
        None | Some(Value::Null) => true,
        Some(Value::Array(list)) => list.is_empty(),
        Some(object) if param == "context_management" => {
            let edits = object["edits"].as_array().map(Vec::as_slice).unwrap_or_default();
            edits.iter().all(|e| e["type"].as_str().is_some_and(|kind| kind.starts_with("clear_thinking_")))
        }
        Some(_) => false,
    };
    if nothing { Ok(()) } else { Err(ApiError::unsupported(param, format!("{param}: not supported by this server"))) }
}
