//! Runs the examples on a small random model.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "the examples' own `main` is not called")]

#[path = "common/tiny.rs"]
mod tiny;

#[path = "../examples/chat.rs"]
mod chat;
#[path = "../examples/generate.rs"]
mod generate;
#[path = "../examples/grpo.rs"]
mod grpo;
#[path = "../examples/score.rs"]
mod score;
#[path = "../examples/serve.rs"]
mod serve;

use tower::ServiceExt;

fn model() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    tiny::save_model(dir.path());
    dir
}

#[test]
fn chat_answers() {
    chat::run(model().path(), "12+30=").unwrap();
}

#[test]
fn generate_gives_four_samples_that_repeat() {
    let dir = model();
    let samples = generate::run(dir.path(), "12+30=").unwrap();
    assert_eq!(samples.len(), 4);
    assert!(samples.iter().all(|(_, logprob)| *logprob < 0.0));
    assert_eq!(samples, generate::run(dir.path(), "12+30=").unwrap());
}

#[test]
fn score_gives_a_perplexity() {
    let perplexity = score::run(model().path(), "12+30=42").unwrap();
    assert!(perplexity > 1.0 && perplexity.is_finite(), "{perplexity}");
}

#[test]
fn grpo_trains_on_a_closure() {
    let (_, summary) = grpo::run(model().path(), 2).unwrap();
    assert_eq!(summary.steps, 2);
    assert!(summary.last("rewards/short_words/mean").is_some());
}

#[tokio::test]
async fn serve_answers_beside_other_routes() {
    let app = serve::run(model().path()).unwrap();
    for (path, expected) in [("/hello", "hello"), ("/v1/models", "\"object\":\"list\"")] {
        let request =
            axum::http::Request::get(path).header("host", "localhost").body(axum::body::Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let body = String::from_utf8_lossy(&body).replace(' ', "");
        assert!(body.contains(expected), "{path}: {body}");
    }
}
