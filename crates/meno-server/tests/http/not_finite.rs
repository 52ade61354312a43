//! NaN logits: only the affected request fails, on every route, streamed or not.

use crate::support::{Client, Small, chat_body, request};
use serde_json::{Value, json};

fn broken() -> Client {
    Small { broken: true, ..Default::default() }.client()
}

fn ask(text: &str, more: Value) -> Value {
    let mut body = chat_body(json!({"messages": [{"role": "user", "content": text}]}));
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[track_caller]
fn check(error: &Value) {
    assert_eq!((&error["type"], &error["code"]), (&json!("server_error"), &json!("not_finite")), "{error}");
    assert!(error["message"].as_str().unwrap().contains("logits are not finite"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_request_fails_with_500_and_others_do_not_notice() {
    let client = broken();
    for (path, body) in [
        ("/v1/chat/completions", ask("2~2", json!({}))),
        ("/v1/chat/completions", ask("2~2", json!({"n": 3, "temperature": 1, "logprobs": true}))),
        ("/v1/chat/completions", ask("2~2", json!({"temperature": 1, "logit_bias": {"5": 1}}))),
        ("/v1/completions", json!({"model": "small", "prompt": "1~1=", "max_tokens": 5})),
        ("/v1/responses", json!({"model": "small", "input": "1~1="})),
    ] {
        let reply = client.post(path, body).await;
        assert_eq!(reply.status, 500, "{path}: {}", reply.text);
        check(&reply.json()["error"]);
    }
    // Requests next to broken ones get the same answers as alone, and broken prefixes are not cached.
    let alone = client.chat(json!({})).await["choices"].clone();
    let crowd: Vec<_> = (0..12)
        .map(|i| {
            let client = client.clone();
            let body = if i % 2 == 0 { ask("2~2", json!({})) } else { chat_body(json!({})) };
            tokio::spawn(async move { client.post("/v1/chat/completions", body).await })
        })
        .collect();
    for (i, reply) in crowd.into_iter().enumerate() {
        let reply = reply.await.unwrap();
        match i % 2 {
            0 => assert_eq!(reply.status, 500, "{}", reply.text),
            _ => assert_eq!(reply.json()["choices"], alone),
        }
    }
    let stats = client.server.engine.stats();
    assert_eq!((stats.waiting, stats.running), (0, 0));
    assert!(stats.finished.failed >= 10, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_the_error() {
    let client = broken();
    let body = ask("2~2", json!({"stream": true}));
    let reply = client.send(request("POST", "/v1/chat/completions", &body.to_string())).await;
    let events = reply.events();
    check(&events.last().unwrap()["error"]);
}
