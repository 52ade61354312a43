//! ggml's block types ([`GgmlType`]), the values of a block ([`dequant`]), and quantization into blocks ([`encode`]);
//! FP8 matrices ([`fp8`]).

pub mod dequant;
pub mod encode;
pub mod fp8;
mod ggml_type;

pub use ggml_type::GgmlType;
