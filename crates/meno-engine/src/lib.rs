//! Meno's engine, text in, text out: tokenizer, chat template, sampling, continuous batching, and splitting responses
//! into thought and answer. Start with [`TextModel`]: it loads a model with its text processing and answers in two
//! calls.
//!
//! ```no_run
//! let text = meno_engine::TextModel::load("models/r1-distill".as_ref())?;
//! let mut session = text.session()?;
//! let response = session.ask("What is 7 · 8?", &mut |text| print!("{text}"))?;
//! println!("thought {} characters before the answer {}", response.thought.len(), response.answer);
//! # Ok::<(), meno_engine::Error>(())
//! ```
//!
//! [`generator::Generator`] works on token ids only. Text is handled in [`tokenizer`], [`chat_template`], [`stop`] and
//! [`reasoning`]. Generation and training share the weights: [`generator::Generator::generate`] borrows the trainer's
//! model, and the log-probabilities it records equal those of scoring, bit for bit (`docs/numerics.md`).

pub mod chat_template;
pub mod constraint;
pub mod engine;
pub mod error;
pub mod generation_config;
pub mod generator;
pub mod reasoning;
pub mod sampler;
pub mod stop;
pub mod task_profile;
pub mod text_assets;
pub mod text_model;
pub mod text_stream;
pub mod tokenizer;

mod clock;
mod python;

pub use chat_template::{ChatTemplate, Message};
pub use error::Error;
pub use generation_config::GenerationConfig;
pub use generator::{
    Completion, Event, Finish, Generator, GeneratorConfig, More, Observe, Pooling, Request, Speculative, Stop,
    StreamKey, TokenEvent,
};
pub use sampler::Sampling;
pub use text_assets::TextAssets;
pub use text_model::{Answer, Session, TextModel};
pub use text_stream::TextStream;
pub use tokenizer::Tokenizer;
