//! Rejected requests: statuses and messages.

use crate::support::{Client, Small, chat_body, request};
use axum::body::Body;
use axum::http::Request;
use meno_server::ServerOptions;
use serde_json::{Value, json};

fn client() -> Client {
    Small::default().client()
}

#[track_caller]
fn check(reply: &crate::support::Reply, status: u16, words: &str) {
    assert_eq!(reply.status.as_u16(), status, "{}", reply.text);
    let error = &reply.json()["error"];
    assert!(error["message"].as_str().unwrap().contains(words), "{error}: expected {words:?}");
    assert!(error["type"].is_string() && error.get("param").is_some() && error.get("code").is_some());
}

#[tokio::test]
async fn errors_in_bodies_name_the_place() {
    let client = client();
    let send = |body: &'static str| client.send(request("POST", "/v1/chat/completions", body));
    check(&send("{\"messages\": [}").await, 400, "line 1 column 15");
    check(&send("").await, 400, "line 1 column 0");
    for (body, param, words) in [
        ("[1, 2]", json!(null), "not valid"),
        ("{\"messages\": 5}", json!("messages"), "expected a list"),
        ("{\n\"n\": \"three\"}", json!("n"), "three"),
        ("{\"messages\": [{\"content\": \"x\"}]}", json!("messages[0]"), "role"),
    ] {
        let reply = send(body).await;
        check(&reply, 400, words);
        let error = &reply.json()["error"];
        assert_eq!((&error["param"], &error["code"]), (&param, &json!("invalid_value")), "{body}: {error}");
    }
    let deep = format!("{{\"metadata\": {}", "[".repeat(100_000));
    check(&client.send(request("POST", "/v1/responses", &deep)).await, 400, "recursion limit");
}

/// Errors name the field as the client wrote it, and no types of this program.
#[tokio::test]
async fn errors_use_the_names_of_the_client() {
    let client = client();
    let chat = "/v1/chat/completions";
    let strict = |pattern: &str| json!({"type": "json_schema", "json_schema": {"schema": {"pattern": pattern}}});
    for (path, fields, param, words) in [
        (chat, json!({"stop": [1]}), "stop", "number"),
        ("/v1/completions", json!({"prompt": [1, "a"]}), "prompt", "prompt"),
        ("/v1/completions", json!({"prompt": []}), "prompt", "prompt"),
        (
            "/v1/completions",
            json!({"prompt": "x", "messages": [{"role": "user", "content": "x"}]}),
            "messages",
            "messages",
        ),
        ("/v1/embeddings", json!({"input": {"a": 1}}), "input", "input"),
        ("/detokenize", json!({"tokens": [1, 99_999_999]}), "tokens", "99999999"),
        (chat, json!({"max_tokens": 8, "n_predict": 3}), "n_predict", "max_tokens"),
        (chat, json!({"max_tokens": 8, "max_new_tokens": 3}), "max_new_tokens", "max_tokens"),
        (chat, json!({"reasoning": "low"}), "reasoning", "reasoning"),
        (chat, json!({"thinking": {"type": "maybe"}}), "thinking", "maybe"),
        (chat, json!({"chat_template_kwargs": {"enable_thinking": "no"}}), "chat_template_kwargs", "enable_thinking"),
        (chat, json!({"guided_choice": []}), "guided_choice", "guided_choice"),
        (chat, json!({"format": "xml"}), "format", "xml"),
        (chat, json!({"guided_regex": "(("}), "guided_regex", "unclosed group"),
        (chat, json!({"grammar": "root ::= foo"}), "grammar", "the rule `foo` is not defined"),
        (chat, json!({"response_format": "json"}), "response_format", "response_format"),
        (chat, json!({"response_format": strict("(?=a)b")}), "response_format", "at #/pattern"),
        (
            "/v1/responses",
            json!({"input": "x",
                   "text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "strange"}}}}),
            "text.format",
            "at #/type",
        ),
    ] {
        let mut body = if path == chat { chat_body(json!({})) } else { json!({}) };
        for (key, value) in fields.as_object().unwrap() {
            body[key] = value.clone();
        }
        let reply = client.post(path, body.clone()).await;
        check(&reply, 400, words);
        let error = &reply.json()["error"];
        assert!(error["param"].as_str().is_some_and(|p| p.starts_with(param)), "{path} {body}: {error}");
        for leaked in ["OneOrMany", "Prompts", "Blocks", "none of the forms", "r_foo", "expected ident"] {
            assert!(!error["message"].as_str().unwrap().contains(leaked), "{error}");
        }
    }
}

#[tokio::test]
async fn errors_name_the_field() {
    let client = client();
    for (fields, param, words) in [
        (json!({"messages": []}), "messages", "empty"),
        (json!({"messages": [{"role": "wizard", "content": "x"}]}), "messages[0].role", "wizard"),
        (json!({"messages": [{"role": "user"}]}), "messages[0].content", "messages[0].content is missing"),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
            "messages[0].content[0]",
            "image_url",
        ),
        (json!({"temperature": -1}), "temperature", "-1"),
        (json!({"top_p": 0}), "top_p", "top_p"),
        (json!({"n": 0}), "n", "1 to 128"),
        (json!({"n": 1000}), "n", "1 to 128"),
        (json!({"max_tokens": 0}), "max_tokens", "at least one"),
        (json!({"presence_penalty": 3}), "presence_penalty", "−2 to 2"),
        (json!({"logit_bias": {"x": 1}}), "logit_bias", "\"x\""),
        (json!({"logit_bias": {"5": 101}}), "logit_bias", "101"),
        (json!({"top_logprobs": 2}), "top_logprobs", "logprobs"),
        (json!({"logprobs": true, "top_logprobs": 21}), "top_logprobs", "20"),
        (json!({"stop": vec!["x"; 17]}), "stop", "16"),
        (json!({"tool_choice": "required"}), "tool_choice", "no tools"),
        (json!({"tools": [{"type": "web", "function": {"name": "x"}}]}), "tools[0].type", "web"),
        (json!({"functions": []}), "functions", "tools"),
        (json!({"reasoning_effort": "much"}), "reasoning_effort", "much"),
        (json!({"thinking_budget": "x"}), "thinking_budget", "tokens"),
        (json!({"response_format": {"type": "xml"}}), "response_format", "json_schema"),
        (json!({"response_format": {"type": "regex", "regex": "(("}}), "response_format", "cannot be used"),
        (
            json!({"response_format": {"type": "grammar", "grammar": "start: nothing"}}),
            "response_format",
            "cannot be used",
        ),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "strange"}}}}),
            "response_format",
            "cannot be used",
        ),
        (json!({"structured_outputs": {}}), "structured_outputs", "exactly one"),
        (json!({"response_format": {"type": "regex", "regex": "x".repeat(300_000)}}), "response_format", "262144"),
    ] {
        let reply = client.post("/v1/chat/completions", chat_body(fields.clone())).await;
        check(&reply, 400, words);
        assert_eq!(reply.json()["error"]["param"], param, "{fields}");
    }
    assert_eq!(client.server.metrics.count(meno_server::metrics::Outcome::Invalid), 26);
}

#[tokio::test]
async fn other_models_and_long_prompts() {
    let client = client();
    let reply = client.post("/v1/chat/completions", chat_body(json!({"model": "gpt-5"}))).await;
    check(&reply, 404, "`gpt-5` does not exist here; this server has `small`");
    assert_eq!(reply.json()["error"]["code"], "model_not_found");
    let long = json!({"messages": [{"role": "user", "content": "x".repeat(700)}]});
    let reply = client.post("/v1/chat/completions", chat_body(long)).await;
    check(&reply, 400, "This model's maximum context length is 600 tokens. However, you requested 707 tokens (706 in");
    assert_eq!(reply.json()["error"]["code"], "context_length_exceeded");
    let huge = json!({"messages": [{"role": "user", "content": "x".repeat(100_000)}]});
    check(
        &client.post("/v1/chat/completions", chat_body(huge)).await,
        400,
        "length is 600 tokens. However, you requested a prompt of 100",
    );
    check(&client.get("/v1/models/gpt-5").await, 404, "gpt-5");
}

#[tokio::test]
async fn routes_methods_kinds_and_sizes() {
    let client = client();
    check(&client.get("/v2/nothing").await, 404, "GET /v2/nothing");
    check(&client.get("/v1/chat/completions").await, 405, "GET");
    let plain = Request::post("/v1/chat/completions").body(Body::from("{}")).unwrap();
    check(&client.send(plain).await, 415, "application/json");
    let options = ServerOptions { body_bytes: 100, ..Default::default() };
    let small = Small { options, ..Default::default() }.client();
    let reply = small.post("/v1/chat/completions", chat_body(json!({"user": "x".repeat(200)}))).await;
    check(&reply, 413, "100 bytes");
}

#[tokio::test]
async fn errors_of_the_template_are_client_errors() {
    let template = Some("{{ raise_exception('roles must alternate') }}");
    let client = Small { template, ..Default::default() }.client();
    check(&client.post("/v1/chat/completions", chat_body(json!({}))).await, 400, "roles must alternate");
}

#[tokio::test]
async fn keys_are_required() {
    let options = ServerOptions { api_keys: vec!["one".into(), "two".into()], ..Default::default() };
    let client = Small { options, ..Default::default() }.client();
    let send = async |key: Option<&str>, path: &str| {
        let mut request = request("GET", path, "");
        if let Some(key) = key {
            request.headers_mut().insert("authorization", key.parse().unwrap());
        }
        client.send(request).await
    };
    for key in [None, Some("Bearer three"), Some("Bearer "), Some("one"), Some("Bearer on"), Some("Bearer onee")] {
        let reply = send(key, "/v1/models").await;
        check(&reply, 401, "API key");
        assert_eq!(reply.headers["www-authenticate"], "Bearer");
        assert_eq!(send(key, "/metrics").await.status, 401);
    }
    assert_eq!(send(Some("Bearer two"), "/v1/models").await.status, 200);
    assert_eq!(send(None, "/health").await.status, 200);
}

#[tokio::test]
async fn pages_of_other_origins_need_permission() {
    let options = ServerOptions { cors_origins: vec!["https://a.example".into()], ..Default::default() };
    let client = Small { options, ..Default::default() }.client();
    let ask = async |origin: &str, preflight: bool| {
        let mut builder = Request::builder().uri("/v1/models").header("origin", origin);
        if preflight {
            builder = builder.method("OPTIONS").header("access-control-request-method", "POST");
            builder = builder.header("access-control-request-headers", "authorization,x-stainless-lang");
        }
        client.send(builder.body(Body::empty()).unwrap()).await
    };
    let reply = ask("https://a.example", true).await;
    assert_eq!(reply.status, 204);
    assert_eq!(reply.headers["access-control-allow-origin"], "https://a.example");
    assert_eq!(reply.headers["access-control-allow-headers"], "authorization,x-stainless-lang");
    assert_eq!(ask("https://a.example", false).await.headers["access-control-allow-origin"], "https://a.example");
    for preflight in [true, false] {
        let reply = ask("https://b.example", preflight).await;
        assert!(!reply.headers.contains_key("access-control-allow-origin"));
    }
    let _: Value = ask("https://b.example", false).await.json();
}
