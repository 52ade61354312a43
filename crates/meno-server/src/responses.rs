//! `POST /v1/responses`: text, reasoning and function calls. The server stores nothing, so every request must contain
//! the whole conversation.

mod input;
mod items;
mod reply;

use crate::body::JsonBody;
use crate::chat_completions::ChatRequest;
use crate::clients::Client;
use crate::error::ApiError;
use crate::fields::{self, Endpoint};
use crate::generation_fields::token_limit;
use crate::request::{self, Started};
use crate::state::Server;
use crate::types::{custom_names, decimal};
use axum::extract::State;
use axum::response::Response;
use input::Input;
use items::ResponseFrame;
use reply::ResponseReply;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// A request: the fields that only this endpoint has or that differ from chat completions. `rest` has those of chat
/// completions.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // documented in OpenAI's reference
pub struct ResponseRequest {
    pub input: Option<Input>,
    pub instructions: Option<String>,
    #[serde(deserialize_with = "token_limit")]
    pub max_output_tokens: Option<usize>,
    pub stream: Option<bool>,
    pub tools: Option<Vec<Value>>,
    pub tool_choice: Option<Value>,
    pub parallel_tool_calls: Option<bool>,
    pub text: Option<Value>,
    pub previous_response_id: Option<String>,
    pub conversation: Option<Value>,
    pub background: Option<bool>,
    pub metadata: Option<Value>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Handles `POST /v1/responses`.
pub async fn create(State(server): State<Arc<Server>>, body: JsonBody) -> Result<Response, ApiError> {
    let start = |request: Value, server: &Arc<Server>, client: &Client| {
        let request: ResponseRequest = fields::read(Endpoint::Responses, request)?;
        let stream = request.stream == Some(true);
        let fields = request.repeated_fields(server);
        let chat = request.into_chat()?;
        let custom = custom_names(chat.tools.as_deref().unwrap_or_default());
        let frame = ResponseFrame::new(fields, custom, chat.reasoning_display()?.separate());
        let generation = chat.start(server, client).map_err(|e| e.renamed("response_format", "text.format"))?;
        Ok(Started { generation, reply: ResponseReply::new(frame), stream })
    };
    request::create(&server, body, start).await
}

impl ResponseRequest {
    /// The settings of the request, which the response repeats.
    fn repeated_fields(&self, server: &Server) -> Value {
        let number = |name: &str| self.rest.get(name).cloned().filter(Value::is_number);
        let defaults = &server.model.defaults;
        json!({
            "model": server.model.name,
            "instructions": self.instructions,
            "max_output_tokens": self.max_output_tokens.filter(|&n| n != usize::MAX),
            "metadata": self.metadata.clone().unwrap_or_else(|| json!({})),
            "parallel_tool_calls": self.parallel_tool_calls.unwrap_or(true),
            "previous_response_id": null,
            "reasoning": self.rest.get("reasoning").cloned()
                .unwrap_or_else(|| json!({ "effort": null, "summary": null })),
            "store": false,
            "temperature": number("temperature").or(defaults.temperature.map(|t| decimal(Some(t)))),
            "text": self.text.clone().unwrap_or_else(|| json!({ "format": { "type": "text" } })),
            "tool_choice": self.tool_choice.clone().unwrap_or_else(|| "auto".into()),
            "tools": self.tools.clone().unwrap_or_default(),
            "top_p": number("top_p").or(defaults.top_p.map(|p| decimal(Some(p)))),
            "truncation": "disabled",
        })
    }

    /// Converts the request to a chat request.
    pub fn into_chat(self) -> Result<ChatRequest, ApiError> {
        for (param, given) in [
            ("previous_response_id", self.previous_response_id.is_some()),
            ("conversation", self.conversation.as_ref().is_some_and(|c| !c.is_null())),
            ("background", self.background == Some(true)),
        ] {
            if given {
                let message = format!("{param}: this server stores no responses; send the whole conversation as input");
                return Err(ApiError::unsupported(param, message));
            }
        }
        let mut messages = Vec::new();
        if let Some(text) = self.instructions {
            messages.push(input::message("system", text));
        }
        let input = self.input.ok_or_else(|| ApiError::invalid("input", "input is missing"))?;
        messages.extend(input.into_messages()?);
        let tools = fields::read_value(Value::from(self.tools.unwrap_or_default())).map_err(|e| {
            let place = e.param.clone().unwrap_or_default();
            ApiError { message: format!("tools{}", e.message), ..e }.about(&format!("tools{place}"))
        })?;
        let rest: ChatRequest = fields::read_value(self.rest.into())?;
        Ok(ChatRequest {
            messages,
            max_completion_tokens: self.max_output_tokens.or(rest.max_completion_tokens),
            tools: Some(tools),
            tool_choice: self.tool_choice,
            parallel_tool_calls: self.parallel_tool_calls,
            response_format: self.text.as_ref().and_then(|t| t.get("format")).cloned().or(rest.response_format),
            ..rest
        })
    }
}
