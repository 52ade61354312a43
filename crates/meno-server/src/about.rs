//! `GET /version` and `/tokenizer_info`, as vLLM has them, and `/props`, as llama.cpp has it: what programs ask before they
//! begin.

use crate::app::Server;
use crate::body;
use crate::fim;
use crate::types::decimal;
use axum::extract::State;
use axum::response::Response;
use meno_engine::ChatTemplate;
use meno_engine::generator::Speculative;
use serde_json::json;
use std::sync::Arc;

/// The version of this server.
pub async fn version() -> Response {
    body::json(&json!({ "version": env!("CARGO_PKG_VERSION"), "server": "meno" }))
}

/// What a client needs to count as the model does, with `/tokenize` and `/detokenize`: lm-evaluation-harness asks for it.
pub async fn tokenizer_info(State(server): State<Arc<Server>>) -> Response {
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

/// The model, its template and how it is served. Its path is not shown: `model_path` is its name.
pub async fn props(State(server): State<Arc<Server>>) -> Response {
    let (model, options) = (&server.model, server.engine.options());
    let d = &model.defaults;
    let token = |id: Option<u32>| id.and_then(|id| model.tokenizer.id_to_token(id)).unwrap_or_default();
    let speculative = options.options.speculative != Speculative::Off;
    body::json(&json!({
        "default_generation_settings": {
            "n_ctx": model.context,
            "speculative": speculative,
            "params": {
                "n_predict": -1, "temperature": decimal(d.temperature), "top_p": decimal(d.top_p), "top_k": d.top_k.unwrap_or(0),
                "min_p": decimal(d.min_p.or(Some(0.0))), "repeat_penalty": decimal(d.repetition_penalty.or(Some(1.0))),
            },
        },
        "total_slots": options.capacity.slots,
        "model_alias": model.name,
        "model_path": model.name,
        "chat_template": model.template.as_ref().map(ChatTemplate::source).unwrap_or_default(),
        "bos_token": token(model.tokenizer.bos()),
        "eos_token": token(model.tokenizer.eos().first().copied()),
        "modalities": { "vision": false, "audio": false },
        "fill_in_the_middle": fim::known(&model.tokenizer),
        "thinks": model.thinks,
        "build_info": crate::FINGERPRINT,
    }))
}
