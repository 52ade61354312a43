//! Many clients at once: equal answers, bounded queues, slots that are freed.

use crate::support::{Client, Small, chat_body, request};
use meno_server::ServerOptions;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tower::ServiceExt;

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what} did not come about");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn question(i: usize) -> Value {
    let content = format!("{}+{i}=?{}", i * 7, "~".repeat(i % 5 * 11));
    json!({
        "messages": [{"role": "user", "content": content}], "max_tokens": 30 + i % 3 * 20,
        "temperature": if i.is_multiple_of(2) { 0.0 } else { 1.0 }, "seed": i,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_requests_do_not_change_an_answer() {
    let client = Small { slots: 5, queue: 1000, ..Default::default() }.client();
    let mut alone = Vec::new();
    for i in 0..24 {
        alone.push(client.chat(question(i)).await["choices"].clone());
    }
    let crowd: Vec<_> = (0..72)
        .map(|i| {
            let client = client.clone();
            tokio::spawn(async move { client.chat(question(i % 24)).await["choices"].clone() })
        })
        .collect();
    for (i, answer) in crowd.into_iter().enumerate() {
        assert_eq!(answer.await.unwrap(), alone[i % 24]);
    }
}

/// A request whose answer fills the context.
pub(crate) fn endless(fields: Value) -> Value {
    let eos = crate::support::tokenizer().eos()[0].to_string();
    let mut all = json!({"max_tokens": 580, "loop_breaker": false, "logit_bias": {eos: -100}});
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    all
}

/// Starts a long streamed answer and reads nothing of it.
async fn open_stream(client: &Client) -> axum::response::Response {
    let body = chat_body(endless(json!({"stream": true})));
    let response =
        client.app.clone().oneshot(request("POST", "/v1/chat/completions", &body.to_string())).await.unwrap();
    assert_eq!(response.status(), 200);
    response
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_disconnect_free_their_slots() {
    let client = Small { slots: 2, ..Default::default() }.client();
    let engine = client.server.engine.clone();
    for _ in 0..3 {
        let streams = [open_stream(&client).await, open_stream(&client).await, open_stream(&client).await];
        drop(streams);
        until("an idle engine", || engine.stats().running + engine.stats().waiting == 0).await;
    }
    // A request that is not streamed ends when its future is dropped.
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.chat(endless(json!({"n": 100}))).await }
    });
    until("a running answer", || engine.stats().running > 0).await;
    waiting.abort();
    until("an idle engine", || engine.stats().running + engine.stats().waiting == 0).await;
    let cancelled = engine.stats().finished.cancelled;
    assert!(cancelled > 0, "{:?}", engine.stats());
    assert_eq!(client.chat(json!({})).await["usage"]["completion_tokens"], 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_sends_retry_after() {
    let client = Small { slots: 1, queue: 2, ..Default::default() }.client();
    let mut open = Vec::new();
    let refused = loop {
        let body = chat_body(endless(json!({"stream": true})));
        let request = request("POST", "/v1/chat/completions", &body.to_string());
        let response = client.app.clone().oneshot(request).await.unwrap();
        if response.status() != 200 {
            break response;
        }
        open.push(response);
        assert!(open.len() < 50, "the queue has no end");
    };
    assert_eq!(refused.status(), 429);
    let seconds: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds));
    drop(open);
    let start = Instant::now();
    while client.post("/v1/chat/completions", chat_body(json!({}))).await.status != 200 {
        assert!(start.elapsed() < Duration::from_secs(60), "the queue does not empty");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn requests_time_out() {
    let options = ServerOptions { request_seconds: 0, ..Default::default() };
    let client = Small { options, ..Default::default() }.client();
    let reply = client.post("/v1/chat/completions", chat_body(json!({"max_tokens": 500}))).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]["code"]), (504, &json!("timeout")));
    let reply = client.post("/v1/chat/completions", chat_body(json!({"stream": true}))).await;
    assert_eq!(reply.events().last().unwrap()["error"]["code"], "timeout");
}

#[tokio::test]
async fn a_server_that_stops_accepts_no_requests() {
    let client = Small::default().client();
    let engine = client.server.engine.clone();
    tokio::task::spawn_blocking(move || engine.shutdown()).await.unwrap().unwrap();
    let reply = client.post("/v1/chat/completions", chat_body(json!({}))).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]["code"]), (503, &json!("shutting_down")));
}
