//! The commands, one file each.

pub(crate) mod bench;
pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod convert;
pub(crate) mod distill;
pub(crate) mod doctor;
pub(crate) mod eval;
pub(crate) mod generate;
pub(crate) mod grpo;
pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod logits;
pub(crate) mod man;
pub(crate) mod perplexity;
pub(crate) mod plan;
pub(crate) mod pretrain;
pub(crate) mod pull;
pub(crate) mod quantize;
pub(crate) mod replicate;
pub(crate) mod report;
pub(crate) mod rm;
pub(crate) mod sample;
pub(crate) mod serve;
pub(crate) mod sft;
pub(crate) mod verify;
