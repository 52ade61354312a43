//! Errors in Anthropic's format, on the paths of its API.

use crate::error::ApiError;
use crate::types::new_id;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Value, json};

/// Converts the error of a response on these paths, and adds a request id to every response.
pub(crate) async fn shape(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let ours = path == "/v1/messages" || path.starts_with("/v1/messages/");
    let mut response = next.run(request).await;
    if !ours {
        return response;
    }
    let id = new_id("req_");
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        let mut body = body(&error);
        body["request_id"] = id.clone().into();
        *response.body_mut() = Body::from(body.to_string());
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("request-id", id);
    }
    response
}

/// Anthropic's error object.
pub(super) fn body(error: &ApiError) -> Value {
    // `ApiError::body` shortens long messages.
    let message = error.body()["error"]["message"].take();
    json!({ "type": "error", "error": { "type": kind(error.status), "message": message } })
}

fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        408 | 504 => "timeout_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}
