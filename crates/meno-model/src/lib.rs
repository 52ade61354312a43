//! Networks and their checkpoints.
//!
//! [`Config`] is a `config.json`, [`Network`] its parameters and the programs over them, [`Model`] a network with
//! weights on a device. The DeepSeek-V3 network follows the paper's order: [`deepseek_v3`] (declaration), [`block`],
//! [`mla`], [`moe`], [`mtp`]. [`llama`] (also Qwen2) shares [`block`] and uses [`gqa`].

pub mod block;
pub mod config;
pub mod convert;
pub mod date;
pub mod deepseek_v3;
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
