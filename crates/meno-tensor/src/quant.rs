//! Weights in ggml's block types: what a block holds ([`dequant`]).

pub mod dequant;

pub use dequant::GgmlType;
