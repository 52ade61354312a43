//! bf16 GEMM on a unit that multiplies pairs of bf16 ([`Bf16Unit`]): blocks of up to 32 × 32 f32, tiles of 32 values of
//! k.
//!
//! An output element is a chain over k in blocks of [`BLOCK`], with pairs in the instruction's own order. Shape,
//! packing and threads do not change it: a row of C depends only on its row of A and on B. Denormals count as zero.
//! With alpha = 1, a chain starts from C (or 0) and runs over all k; otherwise every block's chain starts from 0 and is
//! added to C as `fma(alpha, block, c)`.

use super::mat::{Mat, MatMut};
use super::split::Split;
use crate::cpu::HostBuffer;
use crate::cpu::isa::Bf16Unit;
use crate::cpu::isa::avx512::{mask, round, round_pairs, transpose};
use crate::pool;
use std::arch::x86_64::*;
use std::cell::RefCell;
use std::ops::Range;

/// Values of k in one accumulation block (a multiple of 32).
const BLOCK: usize = 512;
/// bf16 values of one tile: 16 lines of 32.
const TILE: usize = 512;
/// Columns of a panel: two tiles.
const PANEL: usize = 32;
/// Maximum rows of one task.
const ROWS: usize = 256;

/// A matrix as lines along k: value l of line i is at `data[i * line + l * k]`; one of the strides is 1.
#[derive(Clone, Copy)]
struct Lines<'a> {
    data: &'a [f32],
    line: usize,
    k: usize,
}

/// Packs 16 lines × 32 values of k, starting at (i, l), as pairs of bf16. Only `lines` lines and `ks` values exist; the
/// rest is 0. The order is line-major (A: `[line][pair]`) or pair-major (B: `[pair][line]`).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn pack_tile(x: Lines, i: usize, l: usize, lines: usize, ks: usize, line_major: bool, out: *mut u16) {
    // SAFETY: loads are masked to existing elements; `out` has room for a tile.
    unsafe {
        let base = x.data.as_ptr().add(i * x.line + l * x.k);
        let mut rows = [_mm512_setzero_si512(); 16];
        let by_line = x.k == 1;
        for (r, row) in rows.iter_mut().enumerate() {
            let (low, high) = if by_line {
                if r >= lines {
                    break;
                }
                let p = base.add(r * x.line);
                (
                    _mm512_maskz_loadu_ps(mask(ks), p),
                    _mm512_maskz_loadu_ps(mask(ks.saturating_sub(16)), p.wrapping_add(16)),
                )
            } else {
                let load = |l: usize| {
                    if l < ks { _mm512_maskz_loadu_ps(mask(lines), base.add(l * x.k)) } else { _mm512_setzero_ps() }
                };
                (load(2 * r), load(2 * r + 1))
            };
            *row = if by_line { round(low, high) } else { round_pairs(low, high) };
        }
        if by_line != line_major {
            transpose(&mut rows);
        }
        for (r, row) in rows.iter().enumerate() {
            _mm512_storeu_si512(out.add(32 * r).cast(), *row);
        }
    }
}

/// The number of f32 that B of this shape takes when packed.
pub(super) fn packed_len(k: usize, n: usize) -> usize {
    k.next_multiple_of(32) * n.next_multiple_of(PANEL) / 2
}

/// Packs B for [`multiply`]: blocks of k, in each block panels, in each panel groups of 32 values of k of two tiles.
pub(super) fn pack(b: Mat, out: &mut [f32]) {
    let padded = b.cols.next_multiple_of(PANEL);
    let x = Lines { data: b.data, line: b.col_stride, k: b.row_stride };
    let mut rest = out;
    for block in (0..b.rows).step_by(BLOCK) {
        let len = BLOCK.min(b.rows - block).next_multiple_of(32);
        let (this, next) = rest.split_at_mut(len * padded / 2);
        rest = next;
        pool::for_chunks(this, len * PANEL / 2, |p, panel| {
            let mut out = panel.as_mut_ptr().cast::<u16>();
            for l in (block..block + len).step_by(32) {
                for j in [p * PANEL, p * PANEL + 16] {
                    // SAFETY: AVX-512 is available (`available`); a panel has room for its tiles.
                    unsafe {
                        if j < b.cols {
                            pack_tile(x, j, l, b.cols - j, b.rows - l, false, out);
                        } else {
                            out.write_bytes(0, TILE);
                        }
                        out = out.add(TILE);
                    }
                }
            }
        });
    }
}

/// Calls `f` with this thread's buffer for rows of A and one block of C, aligned to cache lines.
fn with_buffer<R>(f: impl FnOnce(&mut [f32]) -> R) -> R {
    thread_local! { static BUFFER: RefCell<HostBuffer> = RefCell::default(); }
    BUFFER.with_borrow_mut(|b| {
        if b.is_empty() {
            *b = HostBuffer::zeroed(ROWS * BLOCK / 2 + PANEL * PANEL);
        }
        f(b)
    })
}

/// Computes C (+)= alpha · A · B, with B packed by [`pack`].
pub(super) fn multiply(unit: Bf16Unit, alpha: f32, a: Mat, b: &[f32], n: usize, accumulate: bool, c: MatMut) {
    let k = a.cols;
    if k == 0 {
        if !accumulate {
            c.clear();
        }
        return;
    }
    let x = Lines { data: a.data, line: a.row_stride, k: a.col_stride };
    let split = Split::new(a.rows, n, ROWS, 32);
    let padded = n.next_multiple_of(PANEL);
    let (data, ld) = (c.data.as_mut_ptr() as usize, c.ld);
    pool::for_each(split.tasks(), |task| {
        let (rows, columns) = split.task(task);
        let (first, count) = (rows.start, rows.len());
        unit.configure();
        with_buffer(|buffer| {
            let (packed, result) = buffer.split_at_mut(ROWS * BLOCK / 2);
            for block in (0..k).step_by(BLOCK) {
                let valid = BLOCK.min(k - block);
                let steps = valid.div_ceil(32);
                pack_rows(x, rows.clone(), block..block + valid, packed);
                let add = accumulate || block > 0;
                for j in columns.clone().step_by(PANEL) {
                    let panel = &b[(block * padded + j * 32 * steps) / 2..][..PANEL * 16 * steps];
                    for i in (0..count).step_by(32) {
                        let size = (32.min(count - i), PANEL.min(n - j));
                        let rows = &packed[i / 16 * steps * TILE / 2..];
                        // SAFETY: C was checked to have these rows and columns; the unit is available and configured.
                        unsafe {
                            let c = Out { unit, c: (data as *mut f32).add((first + i) * ld + j), ld, size };
                            c.add_product(rows, panel, steps, alpha, add, result);
                        }
                    }
                }
            }
        });
    });
}

/// Packs rows and k ranges of A as tiles: 16 rows at a time, and within them 32 values of k at a time.
fn pack_rows(x: Lines, rows: Range<usize>, ks: Range<usize>, packed: &mut [f32]) {
    let steps = ks.len().div_ceil(32);
    for i in (0..rows.len()).step_by(16) {
        let tiles = &mut packed[i / 16 * steps * TILE / 2..][..steps * TILE / 2];
        for (s, tile) in tiles.chunks_exact_mut(TILE / 2).enumerate() {
            let (l, out) = (32 * s, tile.as_mut_ptr().cast());
            // SAFETY: AVX-512 is available, and `tile` has the size of a tile.
            unsafe { pack_tile(x, rows.start + i, ks.start + l, rows.len() - i, ks.len() - l, true, out) };
        }
    }
}

/// A block of up to 32 × 32 of C.
struct Out {
    unit: Bf16Unit,
    c: *mut f32,
    ld: usize,
    /// Valid rows and columns.
    size: (usize, usize),
}

impl Out {
    /// Computes C (+)= alpha · rows · panel. With alpha = 1 the chain continues from C itself.
    ///
    /// # Safety
    /// The unit is configured on this thread; the block lies inside C; `result` has 32 × 32 values.
    unsafe fn add_product(&self, a: &[f32], b: &[f32], steps: usize, alpha: f32, add: bool, result: &mut [f32]) {
        let (rows, cols) = self.size;
        debug_assert!(a.len() >= steps * TILE / 2 * rows.div_ceil(16) && b.len() >= steps * TILE);
        let tiles = (a.as_ptr().cast(), b.as_ptr().cast());
        let start = add && alpha == 1.0;
        // SAFETY: as promised; edges go through `result`.
        unsafe {
            if self.unit.takes_rows(rows) && cols == 32 && alpha == 1.0 {
                return self.unit.block(rows, steps, tiles, (self.c, self.ld), start);
            }
            if start {
                for r in 0..rows {
                    std::ptr::copy_nonoverlapping(self.c.add(r * self.ld), result[32 * r..].as_mut_ptr(), cols);
                }
            }
            self.unit.block(rows, steps, tiles, (result.as_mut_ptr(), 32), start);
            self.store(result, if start { 1.0 } else { alpha }, add && !start);
        }
    }

    /// Adds (or writes) alpha · result.
    ///
    /// # Safety
    /// AVX-512 is available; the block lies inside C.
    #[target_feature(enable = "avx512f")]
    unsafe fn store(&self, result: &[f32], alpha: f32, add: bool) {
        let (rows, cols) = self.size;
        let alpha = _mm512_set1_ps(alpha);
        let masks = [mask(cols), mask(cols.saturating_sub(16))];
        for r in 0..rows {
            for (h, &mask) in masks.iter().enumerate() {
                // SAFETY: masked to the valid columns of a valid row; `result` is 32 × 32.
                unsafe {
                    let c = self.c.add(r * self.ld).wrapping_add(16 * h);
                    let x = _mm512_loadu_ps(result.as_ptr().add(32 * r + 16 * h));
                    let x = if add {
                        _mm512_fmadd_ps(alpha, x, _mm512_maskz_loadu_ps(mask, c))
                    } else {
                        _mm512_mul_ps(alpha, x)
                    };
                    _mm512_mask_storeu_ps(c, mask, x);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Packed, Precision, Rhs, gemm, random, reference};
    use super::*;

    #[test]
    fn close_to_the_reference_and_the_same_bits_for_any_rows_threads_and_packing() {
        if crate::cpu::isa::bf16_unit().is_none() {
            eprintln!("nothing multiplies bf16 on this processor: nothing to test");
            return;
        }
        for (seed, (m, n, k)) in
            [(1, 1, 1), (1, 33, 5), (7, 64, 384), (33, 32, 513), (130, 600, 40), (97, 31, 1100)].into_iter().enumerate()
        {
            let (x, y, z) = (random(seed as u64, m * k), random(9, k * n), random(10, m * n));
            for (at, bt, add) in [(false, false, false), (true, false, true), (false, true, true), (true, true, false)]
            {
                let a = if at { Mat::new(&x, k, m).t() } else { Mat::new(&x, m, k) };
                let b = if bt { Mat::new(&y, n, k).t() } else { Mat::new(&y, k, n) };
                let mut want = z.clone();
                reference(Precision::Bf16, 0.7, a, b, add, MatMut::new(&mut want, m, n));
                let mut packed = None;
                Packed::pack(&mut packed, Precision::Bf16, b);
                let mut bits = None;
                for threads in [1, 3] {
                    for b in [Rhs::Mat(b), Rhs::Packed(packed.as_ref().unwrap())] {
                        let mut got = z.clone();
                        pool::with_threads(threads, || {
                            gemm(Precision::Bf16, 0.7, a, b, add, MatMut::new(&mut got, m, n));
                        });
                        for (g, w) in got.iter().zip(&want) {
                            assert!((g - w).abs() < 1e-4 * (k as f32).sqrt(), "{m}×{n}×{k} {at} {bt} {add}: {g} {w}");
                        }
                        assert!(bits.get_or_insert_with(|| got.clone()) == &got, "{m}×{n}×{k}: other bits");
                    }
                }
                if !at && m > 1 {
                    let mut one = z[(m - 1) * n..].to_vec();
                    let last = Mat::new(&x[(m - 1) * k..], 1, k);
                    gemm(Precision::Bf16, 0.7, last, Rhs::Mat(b), add, MatMut::new(&mut one, 1, n));
                    assert!(one == bits.unwrap()[(m - 1) * n..], "{m}×{n}×{k}: the last row alone");
                }
            }
        }
    }
}
