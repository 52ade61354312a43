//! Training: pretraining, supervised fine-tuning, GRPO, rejection sampling and distillation. Each is a plain struct of
//! settings with a `run` function that takes the model, the data and a [`run::Run`] (observer, checkpoints, budget).
//!
//! `recipe` reads the same structs from TOML. One optimizer step is `trainer::Trainer::step`: forward and backward
//! passes over packed sequences, clipping, update.

#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod data;
pub mod distill;
pub mod error;
pub mod evaluation;
pub mod grpo;
mod limits;
pub mod memory;
pub mod metrics;
pub mod packing;
pub mod pretrain;
pub mod prompt;
pub mod recipe;
pub mod rejection_sampling;
pub mod rewards;
pub mod rollout;
pub mod run;
pub mod run_lock;
pub mod schedule;
pub mod sft;
pub mod tensorboard;
pub mod time;
pub mod trainer;
mod training;

pub use distill::Distill;
pub use error::Error;
pub use grpo::Grpo;
pub use metrics::Metrics;
pub use pretrain::Pretrain;
pub use rejection_sampling::RejectionSampling;
pub use run::{Budget, NoopObserver, Observer, Run, Summary};
pub use sft::Sft;
pub use trainer::Train;
