//! Server-sent events: updates as they come, comments while there are none.

use crate::error::ApiError;
use crate::generation::{Generation, Update};
use crate::types::Usage;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::stream::unfold;
use serde_json::Value;
use std::convert::Infallible;
use std::time::Duration;

/// A silent connection says this often that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How an endpoint tells its updates. Every text is complete events, made by [`data`] or [`event`].
pub trait Tell: Send + 'static {
    /// Before the first token.
    fn begin(&mut self) -> String;
    /// An update.
    fn update(&mut self, update: Update) -> String;
    /// After the last.
    fn end(&mut self, usage: Usage) -> String;
    /// Instead of the rest.
    fn fail(&mut self, error: &ApiError) -> String;
}

/// An event without a name.
pub fn data(json: &Value) -> String {
    format!("data: {json}\n\n")
}

/// An event with a name.
pub fn event(name: &str, json: &Value) -> String {
    format!("event: {name}\ndata: {json}\n\n")
}

/// Ends a stream of chat or completions.
pub const DONE: &str = "data: [DONE]\n\n";

enum State<T> {
    Begin(Generation, T),
    Going(Generation, T),
    Over,
}

/// The response of a stream. When the client goes away the body is dropped, and with it the generation.
pub fn respond<T: Tell>(generation: Generation, tell: T) -> Response {
    let stream = unfold(State::Begin(generation, tell), step);
    let mut response = Response::new(Body::from_stream(stream));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no")); // nginx shall not collect them
    response
}

async fn step<T: Tell>(state: State<T>) -> Option<(Result<Bytes, Infallible>, State<T>)> {
    let (text, state) = match state {
        State::Over => return None,
        State::Begin(generation, mut tell) => (tell.begin(), State::Going(generation, tell)),
        State::Going(generation, tell) => going(generation, tell).await,
    };
    Some((Ok(Bytes::from(text)), state))
}

async fn going<T: Tell>(mut generation: Generation, mut tell: T) -> (String, State<T>) {
    loop {
        match tokio::time::timeout(KEEP_ALIVE, generation.next()).await {
            Err(_) => return (": still here\n\n".to_owned(), State::Going(generation, tell)),
            Ok(None) => return (tell.end(generation.usage()), State::Over),
            Ok(Some(Err(error))) => return (tell.fail(&error), State::Over),
            Ok(Some(Ok(update))) => {
                let text = tell.update(update);
                if !text.is_empty() {
                    return (text, State::Going(generation, tell));
                }
            }
        }
    }
}
