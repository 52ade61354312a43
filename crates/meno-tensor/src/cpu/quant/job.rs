//! A product with a quantized matrix, and the part of it that one task computes.

use super::activations::Tile;
use super::isa::Isa;
use std::ops::Range;

/// Rows of a matrix that are interleaved.
pub(super) const LANES: usize = 16;

/// A product: y = x · Wᵀ, or y += x · Wᵀ.
pub(super) struct Job<'a> {
    /// The blocks, in groups of sixteen rows.
    pub(super) weights: *const u8,
    /// Blocks of a row.
    pub(super) blocks: usize,
    /// Rows of W.
    pub(super) outputs: usize,
    /// Rows of x.
    pub(super) rows: usize,
    /// Rows of a tile ([`Instructions::tile`]).
    pub(super) tile: usize,
    /// x, tile after tile.
    pub(super) tiles: &'a [Tile],
    /// y, rows `ld` apart.
    pub(super) y: *mut f32,
    pub(super) ld: usize,
    pub(super) accumulate: bool,
}

// SAFETY: tasks read weights and activations and write their own columns of y.
unsafe impl Sync for Job<'_> {}

impl Job<'_> {
    /// Outputs 16·g .. 16·g+16 of row `m` (fewer in the last group); zeros if `load` is false.
    ///
    /// # Safety
    /// I's instructions are available; the job is valid.
    #[inline(always)]
    pub(super) unsafe fn load<I: Isa>(&self, load: bool, m: usize, g: usize) -> I::Floats {
        // SAFETY: as promised by the caller.
        unsafe {
            if !load {
                return I::splat(0.0);
            }
            let (n, y) = (LANES.min(self.outputs - g * LANES), self.y.add(m * self.ld + g * LANES));
            if n == LANES {
                return I::load(y);
            }
            let mut whole = [0f32; LANES];
            std::ptr::copy_nonoverlapping(y, whole.as_mut_ptr(), n);
            I::load(whole.as_ptr())
        }
    }

    /// Writes outputs 16·g .. 16·g+16 of row `m` (fewer in the last group).
    ///
    /// # Safety
    /// As [`Job::load`], and no other task writes these outputs.
    #[inline(always)]
    pub(super) unsafe fn store<I: Isa>(&self, x: I::Floats, m: usize, g: usize) {
        // SAFETY: as promised by the caller.
        unsafe {
            let (n, y) = (LANES.min(self.outputs - g * LANES), self.y.add(m * self.ld + g * LANES));
            if n == LANES {
                return I::store(x, y);
            }
            let mut whole = [0f32; LANES];
            I::store(x, whole.as_mut_ptr());
            std::ptr::copy_nonoverlapping(whole.as_ptr(), y, n);
        }
    }
}

/// The cache lines of the i-th of n slices of `bytes` bytes.
#[inline(always)]
pub(super) fn lines(bytes: usize, i: usize, n: usize) -> Range<usize> {
    let lines = bytes.div_ceil(64);
    lines * i / n..lines * (i + 1) / n
}

/// A group's unpacked blocks, and the rows to multiply.
pub(super) struct Tiles<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) g: usize,
    pub(super) unpacked: *const u8,
    pub(super) blocks: Range<usize>,
    /// The next group's blocks, `block_bytes` each.
    pub(super) next: *const u8,
    pub(super) block_bytes: usize,
}

impl Tiles<'_> {
    /// The cache lines of a block that tile `t` prefetches: its share of the next group's blocks, which are read from
    /// memory while this group's products are computed.
    pub(super) fn share(&self, t: usize) -> Range<usize> {
        lines(self.block_bytes, t, self.job.tiles.len())
    }

    /// Prefetches these lines of the next group's block `at`.
    #[inline(always)]
    pub(super) unsafe fn prefetch<I: Isa>(&self, lines: &Range<usize>, at: usize) {
        for line in lines.clone() {
            // SAFETY: as promised by the caller.
            unsafe { I::prefetch(self.next.wrapping_add(at * self.block_bytes + 64 * line)) };
        }
    }

    /// Returns the partial sums of tile `t`.
    #[inline(always)]
    pub(super) unsafe fn begin<I: Isa, const T: usize>(&self, t: usize) -> [I::Floats; T] {
        let load = self.job.accumulate || self.blocks.start > 0;
        // SAFETY: as promised by the caller; rows that do not exist are not loaded. Here and below, loops replace
        // closures: a closure may be compiled without I's target features, and then each intrinsic is a call.
        unsafe {
            let mut acc = [I::splat(0.0); T];
            for (m, acc) in acc.iter_mut().enumerate().take(self.job.rows - t * T) {
                *acc = self.job.load::<I>(load, t * T + m, self.g);
            }
            acc
        }
    }

    #[inline(always)]
    pub(super) unsafe fn end<I: Isa, const T: usize>(&self, t: usize, acc: [I::Floats; T]) {
        for (m, acc) in acc.into_iter().enumerate().take(self.job.rows - t * T) {
            // SAFETY: as promised by the caller.
            unsafe { self.job.store::<I>(acc, t * T + m, self.g) };
        }
    }
}
