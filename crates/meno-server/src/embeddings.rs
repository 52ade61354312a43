//! `POST /v1/embeddings`: not of the models that are served here.

use crate::app::Server;
use crate::error::ApiError;
use axum::extract::State;
use axum::response::Response;
use std::sync::Arc;

/// Says why there are none.
pub async fn answer(State(server): State<Arc<Server>>) -> Result<Response, ApiError> {
    let message = format!(
        "`{}` writes text and was not made for embeddings; serve an embedding model elsewhere.",
        server.model.name
    );
    Err(ApiError::not_implemented(message))
}
