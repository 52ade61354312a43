//! `GET /v1/models`.

use crate::app::Server;
use crate::body;
use crate::error::ApiError;
use crate::model::Served;
use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Value, json};
use std::sync::Arc;

/// The model that is served, as a list.
pub async fn list(State(server): State<Arc<Server>>) -> Response {
    body::json(&json!({ "object": "list", "data": [describe(&server.model)] }))
}

/// The model that is served, by its name.
pub async fn one(State(server): State<Arc<Server>>, Path(name): Path<String>) -> Result<Response, ApiError> {
    server.model.check_name(Some(&name))?;
    Ok(body::json(&describe(&server.model)))
}

/// What a client may want to know of the model. One of few tasks says in `description` and `examples` what it was taught.
fn describe(model: &Served) -> Value {
    let mut described = json!({
        "id": model.name, "object": "model", "created": model.created, "owned_by": "meno",
        "max_model_len": model.context, "thinks": model.thinks,
    });
    if let Some(taught) = &model.taught {
        described["description"] = json!(taught.description);
        described["examples"] = json!(taught.examples);
    }
    described
}
