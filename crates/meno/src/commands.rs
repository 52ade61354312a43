//! One verb, one file.

pub mod bench;
pub mod chat;
pub mod completions;
pub mod convert;
pub mod distill;
pub mod doctor;
pub mod eval;
pub mod generate;
pub mod grpo;
pub mod inspect;
pub mod list;
pub mod logits;
pub mod man;
pub mod perplexity;
pub mod pretrain;
pub mod pull;
pub mod quantize;
pub mod replicate;
pub mod report;
pub mod rm;
pub mod sample;
pub mod serve;
pub mod sft;
pub mod verify;
