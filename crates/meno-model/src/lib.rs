//! The networks and their checkpoints.
//!
//! [`Config`] is a `config.json`, [`Model`] its parameters and the tapes over them. The DeepSeek-V3 network is written
//! in the paper's order: [`deepseek_v3`] (declaration), [`block`], [`mla`], [`moe`], [`mtp`]; [`llama`] (Qwen2 too) shares
//! [`block`] and has [`gqa`].

pub mod block;
pub mod config;
pub mod convert;
pub mod deepseek_v3;
pub mod gguf;
pub mod gqa;
pub mod hf;
pub mod input;
pub mod llama;
pub mod mla;
pub mod moe;
pub mod mtp;
pub mod plain;
pub mod recognize;
pub mod temporary;
pub mod weights;

pub mod date;
mod declare;
mod error;
mod fp8;
mod init;
mod lora;
mod model;

pub use config::{Arch, Config, ModelType};
pub use error::Error;
pub use model::{InferOptions, Model, Network, TrainOptions};
pub use weights::Dtype;
