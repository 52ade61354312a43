//! The routes, who may use them, and what they share.

use crate::body;
use crate::clients::Clients;
use crate::connections::ConnectionLimits;
use crate::error::ApiError;
use crate::hosts::{self, Hosts};
use crate::metrics::{Metrics, Outcome, engine_text};
use crate::model::Served;
use crate::{
    about, apply_template, chat_completions, completions, embeddings, messages, models, page, responses, tokenize,
};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use meno_engine::engine::Engine;
use serde_json::json;
use std::sync::Arc;

/// How requests are treated.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Keys of which a request must show one; none: anybody may ask.
    pub api_keys: Vec<String>,
    /// Origins of web pages that may use the server; `*` for all.
    pub cors_origins: Vec<String>,
    /// Names under which the server may be asked, beside its own.
    pub host_names: Vec<String>,
    /// How many connections there may be.
    pub connections: ConnectionLimits,
    /// Most answers of one client, running and waiting; `None`: three quarters of all that may run and wait.
    pub per_client: Option<usize>,
    /// Most bytes of a request.
    pub body_bytes: usize,
    /// Most seconds of a request, waiting included.
    pub request_seconds: u64,
    /// Tokens of a thought where the request does not say; `None`: no limit.
    pub thinking_budget: Option<usize>,
    /// Whether thoughts that go in circles are ended.
    pub loop_breaker: bool,
}

impl Default for ServerOptions {
    fn default() -> Self {
        ServerOptions {
            api_keys: Vec::new(),
            cors_origins: Vec::new(),
            host_names: Vec::new(),
            connections: ConnectionLimits::default(),
            per_client: None,
            body_bytes: 8 << 20,
            request_seconds: 600,
            thinking_budget: None,
            loop_breaker: true,
        }
    }
}

/// A model being served.
pub struct Server {
    /// Its text.
    pub model: Served,
    /// Its network.
    pub engine: Engine,
    /// How requests are treated.
    pub options: ServerOptions,
    /// What was counted.
    pub metrics: Metrics,
    /// Its names.
    pub hosts: Hosts,
    /// Who asks it.
    pub clients: Clients,
}

impl Server {
    /// A server of a model; the engine runs its network.
    pub fn new(model: Served, engine: Engine, options: ServerOptions) -> Arc<Server> {
        let all = engine.options().capacity.slots + engine.options().queue;
        let clients = Clients::new(options.per_client.unwrap_or((all * 3).div_ceil(4)));
        let hosts = Hosts::new(&options.host_names);
        Arc::new(Server { model, engine, options, metrics: Metrics::default(), hosts, clients })
    }

    /// Counts a request that was refused before the engine saw it.
    pub fn count_refusal(&self, error: &ApiError) {
        match error.status {
            StatusCode::TOO_MANY_REQUESTS => self.metrics.ended(Outcome::Busy),
            status if status.is_server_error() => self.metrics.ended(Outcome::Failed),
            _ => self.metrics.ended(Outcome::Invalid),
        }
    }

    /// Seconds after which a place may be free: what answers took on average, for those ahead by their number.
    pub fn retry_after(&self) -> u64 {
        let stats = self.engine.stats();
        let mean = self.metrics.whole.mean().unwrap_or(1.0);
        let rounds = stats.waiting as f64 / self.engine.options().capacity.slots.max(1) as f64;
        (mean * rounds).ceil().clamp(1.0, 60.0) as u64
    }
}

/// All routes.
pub fn app(server: Arc<Server>) -> Router {
    let guarded = Router::new()
        .route("/v1/chat/completions", post(chat_completions::answer))
        .route("/v1/completions", post(completions::answer))
        .route("/v1/responses", post(responses::answer))
        .route("/v1/embeddings", post(embeddings::answer))
        .route("/v1/messages", post(messages::answer))
        .route("/v1/messages/count_tokens", post(messages::count_tokens))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*name}", get(models::one))
        .route("/tokenize", post(tokenize::tokenize))
        .route("/detokenize", post(tokenize::detokenize))
        .route("/apply-template", post(apply_template::answer))
        .route("/props", get(about::props))
        .route("/version", get(about::version))
        .route("/tokenizer_info", get(about::tokenizer_info))
        .route("/metrics", get(metrics))
        .route_layer(from_fn_with_state(server.clone(), authorize));
    Router::new()
        .merge(guarded)
        .merge(page::routes())
        .route("/health", get(health))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(server.clone(), cors))
        .layer(from_fn_with_state(server.clone(), hosts::check))
        .layer(from_fn(messages::shape_errors))
        .with_state(server)
}

async fn health(State(server): State<Arc<Server>>) -> Response {
    body::json(&json!({ "status": "ok", "model": server.model.name }))
}

async fn metrics(State(server): State<Arc<Server>>) -> Response {
    let mut response = Response::new(Body::from(server.metrics.text() + &engine_text(&server.engine.stats())));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

async fn no_route(request: Request) -> ApiError {
    ApiError::no_route(request.method().as_str(), request.uri().path())
}

async fn no_method(request: Request) -> ApiError {
    ApiError::method(request.method().as_str(), request.uri().path())
}

/// Lets requests with a key pass, if keys are asked for.
async fn authorize(State(server): State<Arc<Server>>, mut request: Request, next: Next) -> Response {
    let keys = &server.options.api_keys;
    // Every key is compared, in full: the time tells nothing about them.
    let known = |shown: &&str| keys.iter().fold(false, |known, key| known | same(key, shown));
    let shown = [bearer(request.headers()), anthropic_key(request.headers())];
    let known = shown.into_iter().flatten().find(known);
    if !keys.is_empty() && known.is_none() {
        return ApiError::unauthorized().into_response();
    }
    let client = server.clients.of(&request, known);
    request.extensions_mut().insert(client);
    next.run(request).await
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (kind, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    kind.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// The key where Anthropic's clients show it.
fn anthropic_key(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-api-key")?.to_str().ok().map(str::trim)
}

/// Equality in a time that does not depend on where two texts differ.
fn same(a: &str, b: &str) -> bool {
    let differ = a.bytes().zip(b.bytes()).fold(0, |d, (a, b)| d | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differ) == 0
}

/// Answers browsers that ask whether a page of another origin may use the server, and says so with every response.
async fn cors(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let allowed = allowed_origin(&server.options.cors_origins, request.headers());
    let preflight =
        *request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let asked = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
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
        // The clients of OpenAI send headers of their own; none of them means anything here.
        headers.extend(asked.map(|names| (header::ACCESS_CONTROL_ALLOW_HEADERS, names)));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}

fn allowed_origin(origins: &[String], headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    if origins.iter().any(|given| given == "*") {
        return Some(HeaderValue::from_static("*"));
    }
    hosts::is_given(origin, origins).then(|| origin.clone())
}
