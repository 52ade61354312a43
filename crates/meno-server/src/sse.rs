//! Streamed replies as server-sent events, through [`axum::response::sse`].
//!
//! Keep-alive comments are sent here and not by axum's `KeepAlive`: that needs axum's `tokio` feature, and it would
//! also send comments while tokens arrive that the client is not shown. The next event is computed only when the
//! client has room for it, so a slow reader does not fill the server's memory with events.

use crate::error::ApiError;
use crate::generation::Generation;
use crate::types::Usage;
use crate::update::Update;
use axum::http::HeaderValue;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{StreamExt, iter, unfold};
use serde_json::Value;
use std::convert::Infallible;
use std::time::Duration;

/// Interval of keep-alive comments while no token arrives.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Converts the updates of a generation to the events of an endpoint.
pub(crate) trait EventWriter: Send + 'static {
    /// The events before the first token.
    fn begin(&mut self) -> Vec<Event>;
    /// The events of an update.
    fn update(&mut self, update: Update) -> Vec<Event>;
    /// The events after the last update.
    fn end(&mut self, usage: Usage) -> Vec<Event>;
    /// The last events if the generation fails.
    fn fail(&mut self, error: &ApiError) -> Vec<Event>;
}

/// An event without a name.
pub(crate) fn data(json: &Value) -> Event {
    Event::default().data(json.to_string())
}

/// An event with a name.
pub(crate) fn named(name: &str, json: &Value) -> Event {
    Event::default().event(name).data(json.to_string())
}

/// A comment, which clients ignore.
pub(crate) fn comment(text: &str) -> Event {
    Event::default().comment(text)
}

/// The event that ends a stream of chat completions or completions.
pub(crate) fn done() -> Event {
    Event::default().data("[DONE]")
}

enum State<W> {
    Begin(Generation, W),
    Running(Generation, W),
    Ended,
}

/// Returns the streamed response. If the client disconnects, axum drops the body and with it the generation.
pub(crate) fn respond<W: EventWriter>(generation: Generation, writer: W) -> Response {
    let events = unfold(State::Begin(generation, writer), step).flat_map(iter).map(Ok::<_, Infallible>);
    let mut response = Sse::new(events).into_response();
    // Tells nginx not to buffer the events.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

async fn step<W: EventWriter>(state: State<W>) -> Option<(Vec<Event>, State<W>)> {
    match state {
        State::Ended => None,
        State::Begin(generation, mut writer) => Some((writer.begin(), State::Running(generation, writer))),
        State::Running(generation, writer) => Some(next_events(generation, writer).await),
    }
}

async fn next_events<W: EventWriter>(mut generation: Generation, mut writer: W) -> (Vec<Event>, State<W>) {
    loop {
        match tokio::time::timeout(KEEP_ALIVE, generation.next()).await {
            Err(_) => return (vec![comment("still here")], State::Running(generation, writer)),
            Ok(None) => return (writer.end(generation.usage()), State::Ended),
            Ok(Some(Err(error))) => return (writer.fail(&error), State::Ended),
            Ok(Some(Ok(update))) => {
                let events = writer.update(update);
                if !events.is_empty() {
                    return (events, State::Running(generation, writer));
                }
            }
        }
    }
}
