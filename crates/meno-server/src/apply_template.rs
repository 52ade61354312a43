//! `POST /apply-template` (llama.cpp's): returns the prompt that the chat template renders, without generating an
//! answer.

use crate::body::{self, JsonBody};
use crate::chat_completions::ChatRequest;
use crate::clients::WorkKind;
use crate::conversation::RenderedTurn;
use crate::error::ApiError;
use crate::fields::{self, Endpoint};
use crate::state::Server;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};
use std::sync::Arc;

/// Handles `POST /apply-template`.
pub(crate) async fn apply(State(server): State<Arc<Server>>, body: JsonBody) -> Result<Response, ApiError> {
    let rendered = body.process(&server, WorkKind::Tokens, |request: Value, server, _| {
        let mut request: ChatRequest = fields::read(Endpoint::Chat, request)?;
        match request.prepare(server)?.conversation.render(&server.model)? {
            RenderedTurn::Generate { text, .. } => Ok(body::json(&json!({ "prompt": text }))),
            RenderedTurn::Fixed(_) => Err(ApiError::invalid(
                "messages",
                "this model was trained for only a few tasks, and this question is not one of them",
            )),
        }
    });
    rendered.await
}
