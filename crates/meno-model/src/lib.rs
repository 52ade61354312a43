//! Networks and their checkpoints.
//!
//! [`Config`] is a `config.json`, [`Network`] its parameters and the programs over them, [`Model`] a network with
//! weights on a device. The DeepSeek-V3 network follows the paper's order: [`deepseek_v3`] (declaration), [`block`],
//! [`mla`], [`moe`], [`mtp`]. [`llama`] (also Qwen2) shares [`block`] and uses [`gqa`].
//!
//! ```
//! # use meno_model::{Config, Model};
//! # use meno_tensor::{backend::Pass, precision::Precision, tape::Batch};
//! let config = serde_json::json!({
//!     "model_type": "llama", "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
//!     "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "rms_norm_eps": 1e-5,
//!     "rope_theta": 10000.0, "tie_word_embeddings": true,
//! });
//! let mut model = Model::random(Config::from_value("config.json", config)?, 1)?;
//! let mut batch = Batch::default();
//! batch.push_training(&[5, 17, 42], |_| 1.0);
//! let mut executor = model.score_executor(batch.len())?;
//! let outputs = executor.forward(&mut *model.weights, Pass::new(Precision::F32, &batch), None)?;
//! // The log-probabilities of 17 after 5 and of 42 after 17: about ln(1/96) with random weights.
//! assert!(outputs.logprobs[..2].iter().all(|logprob| (-5.0..-4.0).contains(logprob)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod block;
pub mod config;
pub mod contract;
pub mod convert;
pub mod date;
pub mod deepseek_v3;
pub mod expert_parallel;
pub mod gguf;
pub mod gqa;
pub mod hf;
pub mod input;
pub mod llama;
pub mod mla;
pub mod mlp;
pub mod moe;
pub mod mtp;
pub mod network;
pub mod plain;
pub mod recognize;
pub mod safetensors;
pub mod shared_file;
pub mod temporary;

mod attention;
mod declare;
mod error;
mod fp8;
mod init;
mod load;
mod lora;
mod model;
mod save;
mod source;

pub use config::{Arch, Config, ModelType};
pub use error::Error;
pub use load::{LoadOptions, LoadPrecision, UnknownLoadPrecision};
pub use model::Model;
pub use network::{InferOptions, Network, TrainOptions};
pub use safetensors::Dtype;
