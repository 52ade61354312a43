//! `POST /apply-template`, as llama.cpp has it: the prompt that the chat template writes, without an answer to it.

use crate::app::Server;
use crate::body::{self, Posted};
use crate::chat_completions::ChatRequest;
use crate::clients::Work;
use crate::conversation::Written;
use crate::error::ApiError;
use crate::fields::{self, Endpoint};
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};
use std::sync::Arc;

/// Answers with the prompt of a chat request.
pub async fn answer(State(server): State<Arc<Server>>, posted: Posted) -> Result<Response, ApiError> {
    let rendered = posted.run(&server, Work::Tokens, |request: Value, server, _| {
        let mut request: ChatRequest = fields::read(Endpoint::Chat, request)?;
        match request.asked(server)?.conversation.written(&server.model)? {
            Written::Ask { text, .. } => Ok(body::json(&json!({ "prompt": text }))),
            Written::Say(_) => Err(ApiError::invalid("messages", "the model was not taught such questions")),
        }
    });
    rendered.await
}
