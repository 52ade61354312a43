//! Training: pretraining, supervised fine-tuning, GRPO, rejection sampling and distillation. Each is a plain struct of
//! settings with a `run` function that takes the model, the data and a [`run::Run`] (observer, checkpoints, budget).
//!
//! [`recipe`] reads the same structs from TOML. One optimizer step is a [`trainer::Trainer::pass`], forward and
//! backward, over each pack of sequences, and a [`trainer::Trainer::update`]: clipping, optimizer.
//!
//! ```
//! use meno_model::{Config, Model};
//! use meno_train::{NoopObserver, Pretrain, Run, Train, data::InMemory};
//!
//! # let config = serde_json::json!({
//! #     "model_type": "llama", "vocab_size": 32, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
//! #     "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
//! #     "rope_theta": 10000.0, "tie_word_embeddings": true,
//! # });
//! let mut model = Model::random(Config::from_value("config.json", config)?, 1)?;
//! let documents = InMemory { documents: vec![vec![1, 2, 3, 4, 5, 6, 7, 8]], seed: 0 };
//! let train = Train { max_steps: 20, learning_rate: 0.01, max_tokens: 64, ..Train::default() };
//! let pretrain = Pretrain { tokens_per_step: 32, ..Pretrain::default() };
//! let summary = pretrain.run(&train, &mut model, &documents, &mut Run::new(&mut NoopObserver))?;
//! assert!(summary.last("loss") < summary.max("loss"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod data;
pub mod distill;
pub mod error;
pub mod evaluation;
mod expert_load;
mod gather;
pub mod grpo;
mod limits;
pub mod lr_schedule;
pub mod memory;
pub mod metrics;
pub mod observer;
pub mod packing;
pub mod plan;
pub mod pretrain;
pub mod prompt;
pub mod recipe;
pub mod rejection_sampling;
pub mod rewards;
pub mod rollout;
pub mod run;
pub mod run_lock;
pub mod sft;
mod shards;
mod step_metrics;
pub mod tensorboard;
pub mod time;
pub mod train;
pub mod trainer;
mod training;

pub use distill::Distill;
pub use error::Error;
pub use grpo::Grpo;
pub use metrics::Metrics;
pub use observer::{NoopObserver, Observer};
pub use pretrain::Pretrain;
pub use rejection_sampling::RejectionSampling;
pub use run::{Budget, Run, Summary};
pub use sft::Sft;
pub use train::Train;
