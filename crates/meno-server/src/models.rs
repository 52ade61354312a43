//! `GET /v1/models`.

use crate::app::Server;
use crate::body;
use crate::error::ApiError;
use crate::model::Served;
use axum::extract::{Path, State};
use axum::response::Response;
use meno_model::date::utc;
use serde_json::{Value, json};
use std::sync::Arc;

/// The names of the model that is served, as a list: OpenAI's and Anthropic's fields together.
pub async fn list(State(server): State<Arc<Server>>) -> Response {
    let models: Vec<Value> = server.model.names().map(|name| describe(&server.model, name)).collect();
    let (first, last) = (server.model.names().next(), server.model.names().last());
    body::json(&json!({
        "object": "list", "data": models, "has_more": false, "first_id": first, "last_id": last,
    }))
}

/// The model that is served, by one of its names.
pub async fn one(State(server): State<Arc<Server>>, Path(name): Path<String>) -> Result<Response, ApiError> {
    server.model.check_name(Some(&name))?;
    Ok(body::json(&describe(&server.model, &name)))
}

/// What a client may want to know of the model. A model of few tasks says in `description` and `examples` what it was
/// taught.
fn describe(model: &Served, name: &str) -> Value {
    let mut described = json!({
        "id": name, "object": "model", "created": model.created, "owned_by": "meno",
        "type": "model", "display_name": name, "created_at": utc(model.created),
        "max_model_len": model.context, "thinks": model.thinks,
    });
    if let Some(taught) = &model.taught {
        described["description"] = json!(taught.description);
        described["examples"] = json!(taught.examples);
    }
    described
}
