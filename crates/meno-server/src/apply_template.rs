//! `POST /apply-template`, as llama.cpp has it: the prompt that the chat template writes, without an answer to it.

use crate::app::Server;
use crate::body::{self, Posted};
use crate::chat_completions::ChatRequest;
use crate::clients::Work;
use crate::conversation::Rendered;
use crate::error::ApiError;
use axum::extract::State;
use axum::response::Response;
use serde_json::json;
use std::sync::Arc;

/// Answers with the prompt of a chat request.
pub async fn answer(State(server): State<Arc<Server>>, posted: Posted) -> Result<Response, ApiError> {
    let rendered = posted.run(&server, Work::Tokens, |mut request: ChatRequest, server, _| {
        match request.asked(server)?.conversation.render(&server.model)? {
            Rendered::Text { text, .. } => Ok(body::json(&json!({ "prompt": text }))),
            Rendered::Say(_) => Err(ApiError::invalid("messages", "the model was not taught such questions")),
        }
    });
    rendered.await
}
