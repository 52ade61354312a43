//! Products with matrices that stay in ggml's block types ([`QuantMatrix`]).

mod activations;
mod blocks;
mod format;
mod isa;
mod job;
mod kernel;
mod matrix;
// The loops index several arrays by the same row, which an iterator would hide.
#[allow(clippy::needless_range_loop)]
mod tiles;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use kernel::measure_int8_peak;
pub use matrix::QuantMatrix;

/// Returns the name of the instructions that multiply quantized matrices.
pub(crate) fn instructions() -> &'static str {
    kernel::Instructions::best().name()
}
