//! A small server and a client for it.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use meno_engine::engine::{Engine, EngineOptions};
use meno_engine::tokenizer::CharacterLevel;
use meno_engine::{ChatTemplate, GeneratorConfig, Tokenizer};
use meno_model::{Config, Model};
use meno_server::{ServedModel, Server, ServerOptions, app};
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;

/// Opens the thinking of every answer, unless it is disabled; lists tools in Hermes' format.
pub(crate) const TEMPLATE: &str = "\
{%- if tools %}s:{{ tools | tojson }};<tool_call>{% endif -%}
{%- for m in messages %}{{ m.role[0] }}:{{ m.content or '' }}\
{%- for c in m.tool_calls or [] %}<tool_call>{{ c.function.arguments | tojson }}</tool_call>{% endfor %};{% endfor -%}
{%- if add_generation_prompt %}a:{% if enable_thinking is not defined or enable_thinking %}<think>{% endif %}\
{% endif %}";

pub(crate) const CONTEXT: usize = 600;

pub(crate) fn tokenizer() -> Tokenizer {
    let alphabet: String = (' '..='~').chain(['\n', 'ä', '中']).collect();
    Tokenizer::character_level(&CharacterLevel {
        special: &["<pad>", "<eos>", "<unk>"],
        tags: &["<think>", "</think>", "<tool_call>", "</tool_call>"],
        alphabet: &alphabet,
        eos: "<eos>",
        pad: Some("<pad>"),
        unk: "<unk>",
        ..Default::default()
    })
    .unwrap()
}

pub(crate) struct Small {
    pub(crate) template: Option<&'static str>,
    pub(crate) slots: usize,
    pub(crate) queue: usize,
    pub(crate) options: ServerOptions,
    /// True if the embedding of `~` is NaN, so that prompts with it fail.
    pub(crate) broken: bool,
    pub(crate) tokenizer: Tokenizer,
    /// Number of rows of the embedding beyond the tokenizer's vocabulary, as in published models.
    pub(crate) padding: usize,
}

impl Default for Small {
    fn default() -> Self {
        Small {
            template: Some(TEMPLATE),
            slots: 4,
            queue: 64,
            options: ServerOptions::default(),
            broken: false,
            tokenizer: tokenizer(),
            padding: 0,
        }
    }
}

impl Small {
    pub(crate) fn server(self) -> Arc<Server> {
        let tokenizer = self.tokenizer;
        let rows = tokenizer.vocab_size() + self.padding;
        let mut config = json!({
            "model_type": "qwen2", "vocab_size": rows, "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
            "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
            "tie_word_embeddings": true, "initializer_range": 0.3, "hidden_act": "silu"
        });
        config["tie_word_embeddings"] = (!self.broken).into();
        let mut model = Model::random(Config::from_value("config.json", config).unwrap(), 4).unwrap();
        if self.broken {
            let (width, token) = (model.config.hidden_size, tokenizer.token_to_id("~").unwrap() as usize);
            let embedding = model.layout().find("model.embed_tokens.weight").unwrap();
            model.weights.update(embedding, &mut |w| w[token * width] = f32::NAN).unwrap();
        }
        let template = self.template.map(|t| ChatTemplate::new(t, tokenizer.special()).unwrap());
        let served = ServedModel::new("small".into(), tokenizer, template, CONTEXT, model.config.vocab_size).unwrap();
        let options = EngineOptions {
            generator: GeneratorConfig { step_rows: 64, ..GeneratorConfig::new(self.slots, CONTEXT).serving() },
            threads: Some(1),
            queue: self.queue,
            prefix_file: None,
        };
        Server::new(served, Engine::start(model, options).unwrap(), self.options)
    }

    pub(crate) fn client(self) -> Client {
        let server = self.server();
        Client { app: app(server.clone()), server }
    }
}

#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) app: Router,
    pub(crate) server: Arc<Server>,
}

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// Returns the data of the events of a stream, without the last `[DONE]`.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        let data = self.text.lines().filter_map(|l| l.strip_prefix("data: "));
        data.filter(|d| *d != "[DONE]").map(|d| serde_json::from_str(d).unwrap()).collect()
    }
}

pub(crate) fn request(method: &str, path: &str, body: &str) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    request.body(Body::from(body.to_owned())).unwrap()
}

impl Client {
    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
        Reply { status: parts.status, headers: parts.headers, text }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(request("GET", path, "")).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(request("POST", path, &body.to_string())).await
    }

    /// Sends a chat request that must succeed.
    #[track_caller]
    pub(crate) fn chat(&self, fields: Value) -> impl Future<Output = Value> {
        let client = self.clone();
        async move {
            let reply = client.post("/v1/chat/completions", chat_body(fields)).await;
            assert_eq!(reply.status, 200, "{}", reply.text);
            reply.json()
        }
    }

    /// Sends a streamed chat request and returns its events.
    pub(crate) async fn stream(&self, fields: Value) -> Vec<Value> {
        let mut body = chat_body(fields);
        body["stream"] = true.into();
        let reply = self.post("/v1/chat/completions", body).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert_eq!(reply.headers["content-type"], "text/event-stream");
        assert!(reply.text.ends_with("data: [DONE]\n\n"), "{}", reply.text);
        reply.events()
    }
}

/// Returns a chat request: defaults, overridden by `fields`.
pub(crate) fn chat_body(fields: Value) -> Value {
    let mut body = json!({
        "model": "small", "messages": [{"role": "user", "content": "2+2=?"}], "temperature": 0, "max_tokens": 40,
    });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

/// Collects a streamed answer: reasoning, content and finish reason.
pub(crate) fn answer_of(events: &[Value], index: usize) -> (String, String, Value) {
    let (mut reasoning, mut content, mut finish) = (String::new(), String::new(), Value::Null);
    for event in events {
        for choice in event["choices"].as_array().unwrap().iter().filter(|c| c["index"] == index) {
            reasoning += choice["delta"]["reasoning_content"].as_str().unwrap_or_default();
            content += choice["delta"]["content"].as_str().unwrap_or_default();
            if !choice["finish_reason"].is_null() {
                assert!(finish.is_null(), "an answer ends once");
                finish = choice["finish_reason"].clone();
            }
        }
    }
    (reasoning, content, finish)
}
