//! A server of one model with the APIs of OpenAI and Anthropic: chat, completions, responses, messages, embeddings,
//! tools, structured output, thinking with a budget, and the figures that tell how it does.
//!
//! A request goes one way: [`listen`] takes it from a connection, [`hosts`] and [`clients`] say whether it may come in
//! and what it may take, [`body`] reads it, [`conversation`] makes the prompt, [`generation`] hands it to
//! [`meno_engine::engine::Engine`] and turns tokens into updates ([`answer`], [`tools`]), the endpoint tells them.
//! What restricts an answer ([`thinking`], [`structured`]) meets in [`steering`], which the engine asks for every
//! token. Every error is an [`error::ApiError`].

pub mod about;
pub mod answer;
pub mod app;
pub mod apply_template;
pub mod asked_form;
mod bodies;
pub mod body;
pub mod chat_completions;
pub mod clients;
pub mod completions;
pub mod connections;
pub mod conversation;
pub mod echo;
pub mod embeddings;
pub mod error;
pub mod fields;
pub mod fim;
pub mod gbnf;
pub mod generation;
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
pub mod responses;
pub mod schema;
pub mod shown_thought;
mod socket;
pub mod steering;
pub mod stream;
pub mod structured;
mod text_or_list;
pub mod thinking;
pub mod tokenize;
pub mod tools;
pub mod types;

pub use app::{Server, ServerOptions, app};
pub use connections::ConnectionLimits;
pub use error::ApiError;
pub use listen::{Listen, serve};
pub use loading::Loading;
pub use model::Served;

/// Tells clients with the same seed whether they can expect the same text.
pub const FINGERPRINT: &str = concat!("meno-", env!("CARGO_PKG_VERSION"));
