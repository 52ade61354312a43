//! ggml's block types ([`GgmlType`]), the values of a block ([`dequant`]), and quantization into blocks ([`encode`]).

pub mod dequant;
pub mod encode;
mod ggml_type;

pub use ggml_type::GgmlType;
