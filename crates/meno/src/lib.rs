//! A complete implementation of DeepSeek-R1 in Rust: run reasoning models, teach models to reason, evaluate and serve
//! them.
//!
//! This crate is the entry point of the library; the command of the same name is built on it. Without the command, the
//! crate includes no code for terminals or arguments:
//!
//! ```toml
//! [dependencies]
//! meno = { version = "0.1", default-features = false, features = ["train", "serve", "hub"] }
//! ```
//!
//! # Answers in three lines
//!
//! ```no_run
//! # fn main() -> Result<(), meno::Error> {
//! let mut session = meno::TextModel::load("models/r1-distill".as_ref())?.session()?;
//! let response = session.ask("What is 7 · 8?", &mut |text| print!("{text}"))?;
//! println!("thought {} characters", response.thought.len());
//! # Ok(())
//! # }
//! ```
//!
//! # Where to go from here
//!
//! | to | use | example |
//! |---|---|---|
//! | chat, with streaming | [`Session::ask`], [`Session::chat`] | `examples/chat.rs` |
//! | generate with custom settings | [`Session::answer`], [`Sampling`] | `examples/generate.rs` |
//! | score a text | [`TextModel::score`] | `examples/score.rs` |
//! | train with a reward | `train::Grpo` (feature `train`) | `examples/grpo.rs` |
//! | serve from an axum app | `server::app` (feature `serve`) | `examples/serve.rs` |
//! | download a model of the Hugging Face hub | `hub::Hub::pull` (feature `hub`) | the module's page |
//!
//! The parts: [`tensor`] (programs and devices), [`model`] (networks, checkpoints), [`engine`] (text, generation),
//! `eval` (tasks, verifiers), `train` (the recipe), `server` (HTTP), `hub` (downloads).

#![forbid(unsafe_code)]

#[cfg(feature = "hub")]
mod bytes;
#[cfg(feature = "hub")]
pub mod hub;
#[cfg(feature = "hub")]
mod no_address;

pub use meno_engine as engine;
#[cfg(feature = "train")]
pub use meno_eval as eval;
pub use meno_model as model;
#[cfg(feature = "serve")]
pub use meno_server as server;
pub use meno_tensor as tensor;
#[cfg(feature = "train")]
pub use meno_train as train;

pub use meno_engine::generator::TokenLogprob;
pub use meno_engine::reasoning::{Piece, Split};
pub use meno_engine::task_profile::TaskProfile;
pub use meno_engine::{
    Answer, ChatTemplate, Completion, Error, Finish, GenerationConfig, Generator, GeneratorConfig, Message, Request,
    Sampling, Session, Speculative, StreamKey, TextModel, Tokenizer,
};
pub use meno_model::{Config, LoadOptions, LoadPrecision, Model};
pub use meno_tensor::device::Device;
pub use meno_tensor::kv_cache::KvType;
pub use meno_tensor::precision::Precision;
