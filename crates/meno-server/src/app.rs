//! The routes.

use crate::error::ApiError;
use crate::state::Server;
use crate::{
    access, apply_template, chat_completions, completions, embeddings, messages, models, page, responses, server_info,
    tokenize,
};
use axum::Router;
use axum::extract::Request;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use std::sync::Arc;

/// Returns the router with all routes of a server.
pub fn app(server: Arc<Server>) -> Router {
    let guarded = Router::new()
        .route("/v1/chat/completions", post(chat_completions::create))
        .route("/v1/completions", post(completions::create))
        .route("/v1/responses", post(responses::create))
        .route("/v1/embeddings", post(embeddings::create))
        .route("/v1/messages", post(messages::create))
        .route("/v1/messages/count_tokens", post(messages::count_tokens))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*name}", get(models::retrieve))
        .route("/tokenize", post(tokenize::tokenize))
        .route("/detokenize", post(tokenize::detokenize))
        .route("/apply-template", post(apply_template::apply))
        .route("/props", get(server_info::props))
        .route("/version", get(server_info::version))
        .route("/tokenizer_info", get(server_info::tokenizer_info))
        .route("/metrics", get(server_info::metrics))
        .route_layer(from_fn_with_state(server.clone(), access::authorize));
    Router::new()
        .merge(guarded)
        .merge(page::routes())
        .route("/health", get(server_info::health))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(server.clone(), access::cors))
        .layer(from_fn_with_state(server.clone(), access::check_host_and_origin))
        .layer(from_fn(messages::shape_errors))
        .with_state(server)
}

async fn no_route(request: Request) -> ApiError {
    ApiError::no_route(request.method().as_str(), request.uri().path())
}

async fn no_method(request: Request) -> ApiError {
    ApiError::method(request.method().as_str(), request.uri().path())
}
