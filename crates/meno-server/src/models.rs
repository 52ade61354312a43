//! `GET /v1/models` and `GET /v1/models/{name}`.

use crate::body;
use crate::error::ApiError;
use crate::model::ServedModel;
use crate::state::Server;
use axum::extract::{Path, State};
use axum::response::Response;
use meno_model::date::utc;
use serde_json::{Value, json};
use std::sync::Arc;

/// Handles `GET /v1/models`: lists all names of the served model, with OpenAI's and Anthropic's fields.
pub(crate) async fn list(State(server): State<Arc<Server>>) -> Response {
    let models: Vec<Value> = server.model.names().map(|name| describe(&server.model, name)).collect();
    let (first, last) = (server.model.names().next(), server.model.names().last());
    body::json(&json!({
        "object": "list", "data": models, "has_more": false, "first_id": first, "last_id": last,
    }))
}

/// Handles `GET /v1/models/{name}`.
pub(crate) async fn retrieve(
    State(server): State<Arc<Server>>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    server.model.check_name(Some(&name))?;
    Ok(body::json(&describe(&server.model, &name)))
}

/// Describes the model under one of its names. `description` and `examples` are set for models that know only a few
/// tasks.
fn describe(model: &ServedModel, name: &str) -> Value {
    let mut described = json!({
        "id": name, "object": "model", "created": model.created, "owned_by": "meno",
        "type": "model", "display_name": name, "created_at": utc(model.created),
        "max_model_len": model.context, "thinks": model.thinks,
    });
    if let Some(profile) = &model.task_profile {
        described["description"] = json!(profile.description);
        described["examples"] = json!(profile.examples);
    }
    described
}
