//! The order of a packed right-hand side, which packing and kernels share.

#[cfg(target_arch = "x86_64")]
use crate::cpu::isa::{self, Bf16Unit};
use crate::cpu::simd::{Level, level};
#[cfg(target_arch = "x86_64")]
use crate::precision::Precision;

/// Values of k in one accumulation block.
pub const K_BLOCK: usize = 384;

/// Maximum columns of a panel; tasks are cut at multiples of it.
pub(super) const PANEL: usize = 32;

/// Columns of a panel, equal to those of a register tile. A tile that used half a panel would use every other cache
/// line of it, and so only half of the L1 cache.
pub(super) fn panel_width() -> usize {
    if level() == Level::Avx2 { 16 } else { PANEL }
}

/// A borrowed packed right-hand side.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) k: usize,
    pub(super) n: usize,
    pub(super) data: &'a [f32],
}

impl<'a> View<'a> {
    /// Columns, including the padding of the last panel.
    pub(super) fn padded(&self) -> usize {
        self.n.next_multiple_of(panel_width())
    }
    /// The panels of columns from `j` (a multiple of [`panel_width`]), in the block of `len` values of k that starts at
    /// `block`.
    pub(super) fn panel(&self, block: usize, len: usize, j: usize) -> &'a [f32] {
        &self.data[block * self.padded() + j * len..]
    }
}

/// The unit that multiplies bf16 in this precision. Without one, bf16 is f32 arithmetic on rounded inputs.
#[cfg(target_arch = "x86_64")]
pub(super) fn bf16_unit(precision: Precision) -> Option<Bf16Unit> {
    if precision == Precision::Bf16 { isa::bf16_unit() } else { None }
}
