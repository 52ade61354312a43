//! Meno: DeepSeek-R1, whole, in Rust. This crate is the command and the facade over the parts.

pub mod arguments;
pub mod commands;
pub mod exit;
pub mod help;
pub mod hub;
pub mod interrupt;
pub mod live;
pub mod open;
pub mod remote;
pub mod session;
pub mod terminal;
pub mod training;

mod created;
mod nearest;
mod output;
mod progress;
mod stdin;
mod writing;

pub use meno_engine as engine;
pub use meno_eval as eval;
pub use meno_model as model;
pub use meno_server as server;
pub use meno_tensor as tensor;
pub use meno_train as train;
