//! Rows of activations in the format of the quantized kernels: signed bytes with a float scale per 32 or 256 values.
//! The sums of the bytes are stored too, to be multiplied by the offsets and minima of the codes.

use crate::cpu::gemm::Mat;
use crate::cpu::simd::multiversion;
use crate::pool;
use rayon::prelude::*;

/// The activation layout that a weight type needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Layout {
    /// One scale per 32 values.
    Flat {
        /// Subtracted from every code.
        offset: i32,
    },
    /// One scale per 256 values, sums per `sub` values.
    Nested {
        /// 16 or 32.
        sub: usize,
    },
}

impl Layout {
    fn block(self) -> usize {
        match self {
            Layout::Flat { .. } => 32,
            Layout::Nested { .. } => 256,
        }
    }
    fn sub(self) -> usize {
        match self {
            Layout::Flat { .. } => 32,
            Layout::Nested { sub } => sub,
        }
    }
}

/// Quantized rows, in tiles of several rows: the same quad, block or pair of sums of all rows of a tile is contiguous.
/// Rows missing from the last tile hold stale values.
#[derive(Default)]
pub(super) struct Activations {
    /// `[tiles, k / 4, rows of a tile, 4]`
    pub(super) q: Vec<i8>,
    /// The scales, `[tiles, k / block, rows of a tile]`.
    pub(super) d: Vec<f32>,
    /// d · Σ q, in the layout of `d` (flat).
    dsum: Vec<f32>,
    /// −offset · Σ q, in the layout of `d` (flat).
    fix: Vec<i32>,
    /// Σ q per `sub` values, `[tiles, k / sub / 2, rows of a tile, 2]` (nested).
    sums: Vec<i16>,
}

/// One tile of [`Activations`]; one row if a tile has one.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    pub(super) q: *const i8,
    pub(super) d: *const f32,
    pub(super) dsum: *const f32,
    pub(super) fix: *const i32,
    pub(super) sums: *const i16,
}

// SAFETY: a Tile points into Activations, which are only read while tasks share it.
unsafe impl Send for Tile {}
// SAFETY: as above.
unsafe impl Sync for Tile {}

/// One tile's codes, scales, sums by block, corrections and sums by sub-block, in the shape of zipped iterators.
type TileParts<'a> = ((((&'a mut [i8], &'a mut [f32]), &'a mut [f32]), &'a mut [i32]), &'a mut [i16]);

impl Activations {
    /// Quantizes `x` in tiles of `tile` rows, spread over the threads.
    pub(super) fn quantize(&mut self, x: Mat, layout: Layout, tile: usize) {
        let (block, sub, k) = (layout.block(), layout.sub(), x.cols);
        assert!(x.col_stride == 1 && k % block == 0, "invariant: rows of {k} values are whole blocks of {block}");
        let padded = x.rows.next_multiple_of(tile);
        let (k_tile, blocks, subs) = (k * tile, k / block * tile, k / sub * tile);
        self.q.resize(padded * k, 0);
        self.d.resize(padded * k / block, 0.0);
        self.dsum.resize(padded * k / block, 0.0);
        self.fix.resize(padded * k / block, 0);
        self.sums.resize(padded * k / sub, 0);
        let fill = |(t, ((((q, d), dsum), fix), sums)): (usize, TileParts)| {
            for m in 0..tile.min(x.rows - t * tile) {
                let (x, place) = (&x.data[(t * tile + m) * x.row_stride..][..k], (m, tile));
                match layout {
                    Layout::Flat { offset } => flat_row(x, offset, place, q, d, dsum, fix),
                    Layout::Nested { sub } => nested_row(x, sub, place, q, d, sums),
                }
            }
        };
        if pool::threads() == 1 || x.rows < 16 {
            let (d, dsum) = (self.d.chunks_mut(blocks), self.dsum.chunks_mut(blocks));
            let (fix, sums) = (self.fix.chunks_mut(blocks), self.sums.chunks_mut(subs));
            self.q.chunks_mut(k_tile).zip(d).zip(dsum).zip(fix).zip(sums).enumerate().for_each(fill);
        } else {
            let (d, dsum) = (self.d.par_chunks_mut(blocks), self.dsum.par_chunks_mut(blocks));
            let (fix, sums) = (self.fix.par_chunks_mut(blocks), self.sums.par_chunks_mut(subs));
            self.q.par_chunks_mut(k_tile).zip(d).zip(dsum).zip(fix).zip(sums).enumerate().for_each(fill);
        }
    }

    /// Returns the tiles of `rows` rows of `k` values.
    pub(super) fn tiles(&self, rows: usize, k: usize, layout: Layout, tile: usize) -> impl Iterator<Item = Tile> {
        let (k_tile, blocks, subs) = (k * tile, k / layout.block() * tile, k / layout.sub() * tile);
        (0..rows.div_ceil(tile)).map(move |t| Tile {
            q: self.q[t * k_tile..].as_ptr(),
            d: self.d[t * blocks..].as_ptr(),
            dsum: self.dsum[t * blocks..].as_ptr(),
            fix: self.fix[t * blocks..].as_ptr(),
            sums: self.sums[t * subs..].as_ptr(),
        })
    }
}

/// Returns the scale and its inverse for values whose largest magnitude has these bits; the largest code is 127. A NaN
/// or an infinity makes the scale NaN. Values that are all below 1e-30 become zero.
#[inline(always)]
fn scale(largest: u32) -> (f32, f32) {
    let max = f32::from_bits(largest);
    if max < 1e-30 {
        (0.0, 0.0)
    } else if max < f32::INFINITY {
        (max / 127.0, 127.0 / max)
    } else {
        (f32::NAN, 0.0)
    }
}

#[inline(always)]
fn largest(x: &[f32; 32]) -> u32 {
    // Compared as integers, magnitudes keep their order, and NaN is above all.
    x.iter().fold(0, |m, x| m.max(x.to_bits() & 0x7fff_ffff))
}

/// Rounds to nearest, ties to even.
#[inline(always)]
fn round(x: &[f32; 32], inverse: f32) -> [i8; 32] {
    const MAGIC: f32 = 12_582_912.0; // 1.5 · 2^23: adding it rounds to an integer in the low bits
    x.map(|x| (x * inverse + MAGIC).to_bits() as i8)
}

/// Writes 32 codes into row `m` of a tile of `rows`.
#[inline(always)]
fn put(codes: &[i8; 32], (m, rows): (usize, usize), out: &mut [i8]) {
    for (codes, out) in codes.as_chunks::<4>().0.iter().zip(out.chunks_exact_mut(4 * rows)) {
        out[4 * m..][..4].copy_from_slice(codes);
    }
}

#[inline(always)]
fn sum(q: &[i8]) -> i32 {
    q.iter().map(|&q| i32::from(q)).sum()
}

multiversion! {
    /// `place`: the row's index in its tile, and the number of rows in the tile.
    fn flat_row(
        x: &[f32],
        offset: i32,
        place: (usize, usize),
        q: &mut [i8],
        d: &mut [f32],
        dsum: &mut [f32],
        fix: &mut [i32],
    ) {
        let (m, rows) = place;
        for (b, (x, out)) in x.as_chunks::<32>().0.iter().zip(q.chunks_exact_mut(32 * rows)).enumerate() {
            let (scale, inverse) = scale(largest(x));
            let q = round(x, inverse);
            let sum = sum(&q);
            put(&q, place, out);
            d[b * rows + m] = scale;
            dsum[b * rows + m] = scale * sum as f32;
            fix[b * rows + m] = -offset * sum;
        }
    }
}

multiversion! {
    /// Like [`flat_row`].
    fn nested_row(x: &[f32], sub: usize, place: (usize, usize), q: &mut [i8], d: &mut [f32], sums: &mut [i16]) {
        let (m, rows) = place;
        for (b, (x, out)) in x.as_chunks::<256>().0.iter().zip(q.chunks_exact_mut(256 * rows)).enumerate() {
            let x = x.as_chunks::<32>().0;
            let (scale, inverse) = scale(x.iter().fold(0, |m, x| m.max(largest(x))));
            for (i, (x, out)) in x.iter().zip(out.chunks_exact_mut(32 * rows)).enumerate() {
                let q = round(x, inverse);
                put(&q, place, out);
                for (j, q) in q.chunks_exact(sub).enumerate() {
                    let j = (256 * b + 32 * i) / sub + j;
                    sums[(j / 2 * rows + m) * 2 + j % 2] = sum(q) as i16;
                }
            }
            d[b * rows + m] = scale;
        }
    }
}
