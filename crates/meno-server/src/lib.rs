//! A server for one model with the APIs of OpenAI and Anthropic: chat completions, completions, responses, messages,
//! embeddings, tools, structured output, thinking budgets and metrics.
//!
//! ```no_run
//! use meno_engine::TextModel;
//! use meno_server::{Listen, Server, ServerOptions};
//!
//! let listen = Listen { host: "127.0.0.1".into(), port: 8080, tls: None };
//! let options = ServerOptions::default();
//! let limits = options.connections;
//! let load = || Server::start(TextModel::load("models/r1-distill".as_ref())?, 4, options);
//! let load = |_, _: &_| load().map_err(Box::<dyn std::error::Error>::from);
//! meno_server::serve(&listen, limits, load, |address| println!("http://{address}"))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The path of a request: [`listen`] accepts the connection. [`app`](mod@app) routes the request, and `access` checks
//! the host name, the origin and the API key. [`body`] reads the body within the limits of its [client](clients). An
//! endpoint, for example [`chat_completions`], validates the request, and [`conversation`] renders the prompt.
//! [`generation`] submits it to [`meno_engine::engine::Engine`] and converts the engine's events to [updates](update),
//! with [`answer`] and [`tools`]. `request`, the core that the endpoints share, sends the reply, whole or streamed
//! ([`sse`]).
//!
//! Constraints on the tokens of an answer ([`thinking`], [`structured`]) are combined in [`decoding_constraints`],
//! which the engine calls for every token. Every error response is an [`error::ApiError`].

#![forbid(unsafe_code)]

mod access;
pub mod answer;
pub mod app;
pub mod apply_template;
pub mod asked_form;
mod base64;
pub mod body;
mod body_memory;
pub mod chat_completions;
pub mod chat_message;
pub mod clients;
pub mod completions;
pub mod connections;
pub mod conversation;
pub mod decoding_constraints;
pub mod echo;
pub mod embeddings;
pub mod error;
pub mod fields;
pub mod fim;
pub mod gbnf;
pub mod generation;
pub mod generation_fields;
pub mod grammar_limits;
pub mod hosts;
pub mod listen;
pub mod loading;
mod lock;
pub mod logprobs;
pub mod messages;
pub mod metrics;
pub mod model;
pub mod models;
pub mod page;
mod patterns;
pub mod places;
pub mod prompt;
pub mod prompt_input;
pub mod reasoning_display;
mod request;
pub mod responses;
pub mod schema;
pub mod server_info;
mod socket;
pub mod sse;
pub mod state;
pub mod structure;
pub mod structured;
mod text_or_list;
pub mod thinking;
pub mod tokenize;
pub mod tools;
pub mod types;
pub mod update;

pub use app::app;
pub use connections::ConnectionLimits;
pub use error::ApiError;
pub use listen::{Listen, serve};
pub use loading::Loading;
pub use model::ServedModel;
pub use state::{Server, ServerOptions};
pub use types::FINGERPRINT;
