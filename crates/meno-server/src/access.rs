//! Middleware that decides who may use the server: host names, origins of web pages (CORS) and API keys.

use crate::error::ApiError;
use crate::hosts;
use crate::state::Server;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// Rejects requests for other host names, and requests from web pages of other origins.
pub(crate) async fn check_host_and_origin(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let origins = &server.options.cors_origins;
    match server.hosts.check_host(headers).and_then(|()| server.hosts.check_origin(headers, origins)) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Rejects requests without a valid key if keys are configured. Adds the [`Client`](crate::clients::Client) to the
/// request.
pub(crate) async fn authorize(State(server): State<Arc<Server>>, mut request: Request, next: Next) -> Response {
    let keys = &server.options.api_keys;
    // Compare every key in full, so that the time reveals nothing about the keys.
    let known = |shown: &&str| keys.iter().fold(false, |known, key| known | same(key, shown));
    let shown = [bearer(request.headers()), anthropic_key(request.headers())];
    let known = shown.into_iter().flatten().find(known);
    if !keys.is_empty() && known.is_none() {
        return ApiError::unauthorized().into_response();
    }
    let client = server.clients.client(&request, known);
    request.extensions_mut().insert(client);
    next.run(request).await
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (kind, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    kind.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// The key in the header that Anthropic's clients use.
fn anthropic_key(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-api-key")?.to_str().ok().map(str::trim)
}

/// Compares two strings in a time that does not depend on where they differ; it may depend on their lengths.
fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

/// Answers CORS preflight requests, and adds the CORS headers to every response for an allowed origin.
pub(crate) async fn cors(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let allowed = allowed_origin(&server.options.cors_origins, request.headers());
    let preflight =
        *request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let requested = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let mut response = match (&allowed, preflight) {
        (Some(_), true) => StatusCode::NO_CONTENT.into_response(),
        _ => next.run(request).await,
    };
    let Some(origin) = allowed else { return response };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if preflight {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
        // OpenAI's clients send additional headers. The server ignores them, so all of them are allowed.
        headers.extend(requested.map(|names| (header::ACCESS_CONTROL_ALLOW_HEADERS, names)));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}

fn allowed_origin(origins: &[String], headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    if origins.iter().any(|given| given == "*") {
        return Some(HeaderValue::from_static("*"));
    }
    hosts::is_listed(origin, origins).then(|| origin.clone())
}
