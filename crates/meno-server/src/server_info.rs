//! Information about the server: `GET /version` and `/tokenizer_info` (vLLM's), `/props` (llama.cpp's), `/health` and
//! `/metrics`.

use crate::body;
use crate::fim;
use crate::metrics::engine_text;
use crate::state::Server;
use crate::types::{FINGERPRINT, decimal};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use meno_engine::ChatTemplate;
use meno_engine::generator::Speculative;
use serde_json::json;
use std::sync::Arc;

/// Handles `GET /health`: the server is ready.
pub(crate) async fn health(State(server): State<Arc<Server>>) -> Response {
    body::json(&json!({ "status": "ok", "model": server.model.name }))
}

/// Handles `GET /metrics`: the counters of the server and of the engine, for Prometheus.
pub(crate) async fn metrics(State(server): State<Arc<Server>>) -> Response {
    let mut response = Response::new(Body::from(server.metrics.text() + &engine_text(&server.engine.stats())));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Handles `GET /version`: the version of this server.
pub(crate) async fn version() -> Response {
    body::json(&json!({ "version": env!("CARGO_PKG_VERSION"), "server": "meno" }))
}

/// Handles `GET /tokenizer_info`: what a client needs, with `/tokenize` and `/detokenize`, to count tokens as the model
/// does. lm-evaluation-harness uses it.
pub(crate) async fn tokenizer_info(State(server): State<Arc<Server>>) -> Response {
    let (model, special) = (&server.model, server.model.tokenizer.special());
    let token = |id: Option<u32>| id.and_then(|id| model.tokenizer.id_to_token(id));
    body::json(&json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": token(model.tokenizer.bos()),
        "eos_token": token(model.tokenizer.eos().first().copied()),
        "pad_token": special.pad.as_ref().map(|pad| &pad.0),
        "chat_template": model.template.as_ref().map(ChatTemplate::source),
        "model_max_length": model.context,
    }))
}

/// Handles `GET /props`: the model, its template and its settings. `model_path` is the model's name, because clients
/// must not see the path.
pub(crate) async fn props(State(server): State<Arc<Server>>) -> Response {
    let (model, options) = (&server.model, server.engine.options());
    let d = &model.defaults;
    let token = |id: Option<u32>| id.and_then(|id| model.tokenizer.id_to_token(id)).unwrap_or_default();
    let speculative = options.generator.speculative != Speculative::Off;
    body::json(&json!({
        "default_generation_settings": {
            "n_ctx": model.context,
            "speculative": speculative,
            "params": {
                "n_predict": -1, "temperature": decimal(d.temperature), "top_p": decimal(d.top_p),
                "top_k": d.top_k.unwrap_or(0),
                "min_p": decimal(d.min_p.or(Some(0.0))), "repeat_penalty": decimal(d.repetition_penalty.or(Some(1.0))),
            },
        },
        "total_slots": options.generator.slots,
        "model_alias": model.name,
        "model_path": model.name,
        "chat_template": model.template.as_ref().map(ChatTemplate::source).unwrap_or_default(),
        "bos_token": token(model.tokenizer.bos()),
        "eos_token": token(model.tokenizer.eos().first().copied()),
        "modalities": { "vision": false, "audio": false },
        "fill_in_the_middle": fim::is_supported(&model.tokenizer),
        "thinks": model.thinks,
        "build_info": FINGERPRINT,
    }))
}
