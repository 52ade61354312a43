//! ggml's block types: the types ([`GgmlType`]), what a block holds ([`dequant`]), and making blocks ([`encode`]).

pub mod dequant;
pub mod encode;
mod ggml_type;

pub use ggml_type::GgmlType;
