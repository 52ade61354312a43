//! Serves a model from a custom axum app, next to other routes: `cargo run --example serve -- MODEL`

use axum::Router;
use axum::routing::get;
use meno::server::{Server, ServerOptions};
use meno::{Error, TextModel};
use std::path::Path;

/// The app: a custom page at `/hello`, and the OpenAI and Anthropic APIs at `/v1`.
pub(crate) fn run(model: &Path) -> Result<Router, Error> {
    let server = Server::start(TextModel::load(model)?, 4, ServerOptions::default())?;
    Ok(Router::new().route("/hello", get(|| async { "hello" })).merge(meno::server::app(server)))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = std::env::args().nth(1).ok_or("usage: serve MODEL")?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    axum::serve(listener, run(model.as_ref())?).await?;
    Ok(())
}
