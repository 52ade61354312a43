//! Weights in ggml's block types: the types ([`GgmlType`]), what a block holds ([`dequant`]), making blocks
//! ([`encode`]), and matrices that are multiplied by as they are ([`QuantMatrix`]).

mod activations;
pub mod dequant;
pub mod encode;
mod format;
mod ggml_type;
mod isa;
mod kernel;
mod matrix;
// The loops index several arrays by the same row, which an iterator would hide.
#[allow(clippy::needless_range_loop)]
mod tiles;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use ggml_type::GgmlType;
pub(crate) use kernel::spin;
pub use matrix::QuantMatrix;

/// The name of the instructions that quantised matrices are multiplied with.
pub(crate) fn instructions() -> &'static str {
    kernel::Instructions::best().name()
}
