//! Rows of activations as the kernels of quantised matrices take them: signed bytes with a float scale for every 32 or
//! 256 values, and the sums of the bytes that the codes' offsets and minima are multiplied by.

use crate::gemm::Mat;
use crate::pool;
use crate::simd::multiversion;
use rayon::prelude::*;

/// How a type of weights wants its activations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Layout {
    /// A scale for 32 values.
    Flat {
        /// Subtracted from every code.
        offset: i32,
    },
    /// A scale for 256 values, sums for every `sub`.
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

/// Quantised rows.
#[derive(Default)]
pub(super) struct Activations {
    /// `[rows, k]`
    pub(super) q: Vec<i8>,
    /// The scales, `[rows, k / block]`.
    pub(super) d: Vec<f32>,
    /// d · Σ q, as `d` (flat).
    pub(super) dsum: Vec<f32>,
    /// −offset · Σ q, as `d` (flat).
    pub(super) fix: Vec<i32>,
    /// Σ q of every `sub` values, `[rows, k / sub]`.
    pub(super) sums: Vec<i16>,
}

/// One row of [`Activations`].
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) q: *const i8,
    pub(super) d: *const f32,
    pub(super) dsum: *const f32,
    pub(super) fix: *const i32,
    pub(super) sums: *const i16,
}

// SAFETY: a Row points into Activations that are only read while tasks share it.
unsafe impl Send for Row {}
// SAFETY: as above.
unsafe impl Sync for Row {}

/// One row's codes, factors, sums by block, corrections and sums by sub-block, as zipped iterators give them.
type RowParts<'a> = ((((&'a mut [i8], &'a mut [f32]), &'a mut [f32]), &'a mut [i32]), &'a mut [i16]);

impl Activations {
    /// Quantises `x`, rows spread over the threads.
    pub(super) fn quantise(&mut self, x: Mat, layout: Layout) {
        let (block, sub, k) = (layout.block(), layout.sub(), x.cols);
        assert!(x.col_stride == 1 && k % block == 0, "invariant: rows of {k} values are whole blocks of {block}");
        let (blocks, subs) = (k / block, k / sub);
        self.q.resize(x.rows * k, 0);
        self.d.resize(x.rows * blocks, 0.0);
        self.dsum.resize(x.rows * blocks, 0.0);
        self.fix.resize(x.rows * blocks, 0);
        self.sums.resize(x.rows * subs, 0);
        let row = |(r, ((((q, d), dsum), fix), sums)): (usize, RowParts)| {
            let x = &x.data[r * x.row_stride..][..k];
            match layout {
                Layout::Flat { offset } => flat_row(x, offset, q, d, dsum, fix),
                Layout::Nested { sub } => nested_row(x, sub, q, d, sums),
            }
        };
        if pool::threads() == 1 || x.rows < 16 {
            let (d, dsum) = (self.d.chunks_mut(blocks), self.dsum.chunks_mut(blocks));
            let (fix, sums) = (self.fix.chunks_mut(blocks), self.sums.chunks_mut(subs));
            self.q.chunks_mut(k).zip(d).zip(dsum).zip(fix).zip(sums).enumerate().for_each(row);
        } else {
            let (d, dsum) = (self.d.par_chunks_mut(blocks), self.dsum.par_chunks_mut(blocks));
            let (fix, sums) = (self.fix.par_chunks_mut(blocks), self.sums.par_chunks_mut(subs));
            self.q.par_chunks_mut(k).zip(d).zip(dsum).zip(fix).zip(sums).enumerate().with_min_len(8).for_each(row);
        }
    }

    /// Row `r` of rows of `k` values.
    pub(super) fn row(&self, r: usize, k: usize, layout: Layout) -> Row {
        let (blocks, subs) = (k / layout.block(), k / layout.sub());
        Row {
            q: self.q[r * k..].as_ptr(),
            d: self.d[r * blocks..].as_ptr(),
            dsum: self.dsum[r * blocks..].as_ptr(),
            fix: self.fix[r * blocks..].as_ptr(),
            sums: self.sums[r * subs..].as_ptr(),
        }
    }
}

/// Scale and its inverse of values whose largest magnitude has these bits: 127 is the largest whole number. A NaN or
/// an infinity makes the scale NaN; what would divide by next to nothing is zero.
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
    // Compared as whole numbers, magnitudes keep their order and a NaN is above all.
    x.iter().fold(0, |m, x| m.max(x.to_bits() & 0x7fff_ffff))
}

/// Rounds to nearest, ties to even.
#[inline(always)]
fn round(x: &[f32; 32], inverse: f32, q: &mut [i8; 32]) {
    const MAGIC: f32 = 12_582_912.0; // 1.5 · 2^23: adding it rounds to a whole number in the low bits
    for (q, x) in q.iter_mut().zip(x) {
        *q = (x * inverse + MAGIC).to_bits() as i8;
    }
}

#[inline(always)]
fn sum(q: &[i8]) -> i32 {
    q.iter().map(|&q| i32::from(q)).sum()
}

multiversion! {
    fn flat_row(x: &[f32], offset: i32, q: &mut [i8], d: &mut [f32], dsum: &mut [f32], fix: &mut [i32]) {
        let blocks = x.as_chunks::<32>().0.iter().zip(q.as_chunks_mut::<32>().0);
        for (((x, q), d), (dsum, fix)) in blocks.zip(d).zip(dsum.iter_mut().zip(fix)) {
            let (scale, inverse) = scale(largest(x));
            round(x, inverse, q);
            let sum = sum(q);
            *d = scale;
            *dsum = scale * sum as f32;
            *fix = -offset * sum;
        }
    }
}

multiversion! {
    fn nested_row(x: &[f32], sub: usize, q: &mut [i8], d: &mut [f32], sums: &mut [i16]) {
        for ((x, q), d) in x.as_chunks::<256>().0.iter().zip(q.as_chunks_mut::<256>().0).zip(d) {
            let most = x.as_chunks::<32>().0.iter().fold(0, |m, x| m.max(largest(x)));
            let (scale, inverse) = scale(most);
            for (x, q) in x.as_chunks::<32>().0.iter().zip(q.as_chunks_mut::<32>().0) {
                round(x, inverse, q);
            }
            *d = scale;
        }
        for (sums, q) in sums.chunks_mut(32 / sub).zip(q.as_chunks::<32>().0) {
            if let [first, second] = sums {
                (*first, *second) = (sum(&q[..16]) as i16, sum(&q[16..]) as i16);
            } else {
                sums[0] = sum(q) as i16;
            }
        }
    }
}
