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
//! The path of a request: [`listen`] accepts the connection. `app` routes the request, and `access` checks the host
//! name, the origin and the API key. `body` reads the body within the limits of its client (`clients`). An endpoint,
//! for example `chat_completions`, validates the request, and `conversation` renders the prompt. `generation` submits
//! it to [`meno_engine::engine::Engine`] and converts the engine's events to updates (`update`), with `answer` and
//! `tools`. `request`, the core that the endpoints share, sends the reply, whole or streamed (`sse`).
//!
//! Constraints on the tokens of an answer (`thinking`, `structured`) are combined in `decoding_constraints`, which the
//! engine calls for every token. Every error response is an [`ApiError`].
//!
//! Modules that are public but hidden here serve the fuzz targets, tests and benchmarks of this project. They are not
//! part of the API and change without notice.

#![forbid(unsafe_code)]

mod access;
mod answer;
mod app;
mod apply_template;
#[doc(hidden)]
pub mod asked_form;
mod base64;
#[doc(hidden)]
pub mod body;
mod body_memory;
#[doc(hidden)]
pub mod chat_completions;
mod chat_message;
mod clients;
#[doc(hidden)]
pub mod completions;
mod connections;
#[doc(hidden)]
pub mod conversation;
mod decoding_constraints;
mod echo;
mod embeddings;
mod error;
mod fields;
mod fim;
#[doc(hidden)]
pub mod gbnf;
mod generation;
mod generation_fields;
mod grammar_limits;
mod hosts;
pub mod listen;
mod loading;
mod lock;
mod logprobs;
mod messages;
pub mod metrics;
pub mod model;
mod models;
mod page;
mod patterns;
#[doc(hidden)]
pub mod places;
mod prompt;
mod prompt_input;
mod reasoning_display;
mod request;
#[doc(hidden)]
pub mod responses;
#[doc(hidden)]
pub mod schema;
mod server_info;
mod socket;
mod sse;
mod state;
mod structure;
#[doc(hidden)]
pub mod structured;
mod text_or_list;
#[doc(hidden)]
pub mod thinking;
mod tokenize;
#[doc(hidden)]
pub mod tools;
#[doc(hidden)]
pub mod types;
mod update;

pub use app::app;
pub use connections::ConnectionLimits;
pub use error::ApiError;
pub use listen::{Listen, serve};
pub use loading::Loading;
pub use model::ServedModel;
pub use state::{Server, ServerOptions};
pub use types::FINGERPRINT;
