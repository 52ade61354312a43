//! What a kernel knows about a block type.

use super::activations::{Layout, Tile};
use super::format::BlockFormat;
use super::isa::{Isa, Words};
use super::job::Tiles;

/// A block type with its kernels.
pub(super) trait Blocks: BlockFormat {
    /// The activation layout it needs.
    const LAYOUT: Layout;
    /// Returns acc + the products of block `b` with a row; `block` points at the block.
    ///
    /// # Safety
    /// I's instructions are available; `block` and the row are valid for the block.
    unsafe fn add<I: Isa>(block: *const u8, b: usize, row: Tile, acc: I::Floats) -> I::Floats;
    /// Bytes of an unpacked block.
    fn unpacked_bytes<I: Isa>() -> usize;
    /// Unpacks a block for [`Blocks::multiply`].
    ///
    /// # Safety
    /// As [`Blocks::add`]; `out` has room.
    unsafe fn unpack<I: Isa>(block: *const u8, out: *mut u8);
    /// Multiplies all rows by some unpacked blocks.
    ///
    /// # Safety
    /// As in [`super::tiles`].
    unsafe fn multiply<I: Isa>(tiles: Tiles);
    /// Dequantizes one row's values of a block, as ggml does.
    fn values(block: &[u8], lane: usize, out: &mut [f32]);
}

/// How many 4-bit planes the codes are split into for multiplication.
pub(super) const fn planes<I: Isa, F: BlockFormat>() -> usize {
    if F::MAX > 63 && !I::WIDE { 2 } else { 1 }
}

/// How many quad products a part can sum.
pub(super) const fn run<I: Isa, F: BlockFormat>() -> usize {
    if I::WIDE { 8 } else { F::RUN }
}

/// Plane `plane` of 8-bit codes if they are split; otherwise the codes.
///
/// # Safety
/// As [`Words`].
#[inline(always)]
pub(super) unsafe fn half_of<I: Isa, F: BlockFormat>(codes: I::Ints, plane: usize) -> I::Ints {
    // SAFETY: as promised by the caller.
    unsafe {
        match (planes::<I, F>(), plane) {
            (1, _) => codes,
            (_, 0) => codes.and(15),
            _ => codes.shr(4).and(15),
        }
    }
}
