//! The f32 kernels: tiles of up to 14 rows × 32 columns (AVX-512) or 6 × 16 (AVX2), held in registers. Every element is
//! the same chain as in [`super::reference`].

use super::layout::{K_BLOCK, PANEL, View, panel_width};
use super::mat::{Mat, MatMut};
use super::split::Split;
use crate::cpu::row_kernels::round_to_bf16;
use crate::cpu::simd::vector::Vector;
use crate::cpu::simd::{Level, level};
use crate::pool;
use crate::precision::Precision;
use std::cell::RefCell;
use std::ops::Range;

/// Rows of a register tile: 28 of 32 vector registers accumulate on AVX-512, 12 of 16 on AVX2.
fn tile_rows() -> usize {
    if level() == Level::Avx2 { 6 } else { 14 }
}

/// Panels that a tile of `m` rows takes at once. With few rows and one panel, each sum would wait for its own latency.
fn tile_panels(m: usize) -> usize {
    if level() == Level::Avx2 && m <= 3 { 2 } else { 1 }
}

/// Maximum rows of one task: packed, they take 300 KB of the L2 cache.
const ROWS: usize = 196;

/// The destination of a tile's results.
#[derive(Clone, Copy)]
struct Out {
    c: *mut f32,
    ld: usize,
    /// Valid columns.
    width: usize,
    alpha: f32,
    add: bool,
}

// SAFETY: tasks write disjoint tiles of C.
unsafe impl Send for Out {}
// SAFETY: as above.
unsafe impl Sync for Out {}

/// Computes C (+)= alpha · A · B with B packed.
pub(super) fn multiply(precision: Precision, alpha: f32, a: Mat, b: View, accumulate: bool, c: MatMut) {
    if b.k == 0 {
        if !accumulate {
            c.clear();
        }
        return;
    }
    let tile_rows = tile_rows();
    let split = Split::new(a.rows, b.n, ROWS / tile_rows * tile_rows, tile_rows);
    let direct = reads_rows_in_place(precision, a, b.n);
    let panel = panel_width();
    let (data, ld, n) = (c.data.as_mut_ptr() as usize, c.ld, b.n);
    pool::for_each(split.tasks(), |task| {
        let (rows, columns) = split.task(task);
        let (first, count) = (rows.start, rows.len());
        with_buffer(if direct { 0 } else { count * K_BLOCK }, |buffer| {
            for block in (0..b.k).step_by(K_BLOCK) {
                let len = K_BLOCK.min(b.k - block);
                if !direct {
                    pack_rows(precision, a, rows.clone(), block..block + len, tile_rows, buffer);
                }
                for j in columns.clone().step_by(panel * tile_panels(count)) {
                    let panels = tile_panels(count).min((columns.end - j).div_ceil(panel));
                    let b = &b.panel(block, len, j)[..len * panel * panels];
                    let (width, add) = ((panel * panels).min(n - j), accumulate || block > 0);
                    for i in (0..count).step_by(tile_rows) {
                        let m = tile_rows.min(count - i);
                        let a = match direct {
                            true => Rows::InPlace(&a.data[(first + i) * a.row_stride + block..], a.row_stride),
                            false => Rows::Packed(&buffer[i * len..][..m * len]),
                        };
                        // SAFETY: (first + i, j) lies inside C, whose size was checked against its rows and ld.
                        let c = unsafe { (data as *mut f32).add((first + i) * ld + j) };
                        tile((m, len, panels), a, b, Out { c, ld, width, alpha, add });
                    }
                }
            }
        });
    });
}

/// The rows of a tile of A.
#[derive(Clone, Copy)]
enum Rows<'a> {
    /// `[k][m]`.
    Packed(&'a [f32]),
    /// Starting at the first value of the first row, with the distance between rows.
    InPlace(&'a [f32], usize),
}

/// Returns true if tiles read the rows of A in place. Three limits apply: six pointers fit the registers of AVX2
/// (fourteen do not); packing pays only from several panels on (measured: 2048 × 128 × 128 is 10 % faster in place,
/// 512 × 8192 × 256 10 % slower); and rows that are multiples of a page apart would map to the same cache lines.
fn reads_rows_in_place(precision: Precision, a: Mat, columns: usize) -> bool {
    let apart = !a.row_stride.is_multiple_of(1024);
    level() == Level::Avx2 && precision == Precision::F32 && a.col_stride == 1 && columns <= 256 && apart
}

/// Calls `f` with this thread's buffer for packed rows.
fn with_buffer<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    thread_local! { static BUFFER: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) }; }
    BUFFER.with_borrow_mut(|b| {
        if b.len() < len {
            b.resize(len, 0.0);
        }
        f(&mut b[..len])
    })
}

/// Packs rows and k ranges of A as tiles `[k][rows of the tile]`, one tile after the other.
fn pack_rows(precision: Precision, a: Mat, rows: Range<usize>, ks: Range<usize>, tile: usize, out: &mut [f32]) {
    let (len, count) = (ks.len(), rows.len());
    let out = &mut out[..count * len];
    if a.col_stride == 1 {
        for (t, out) in out.chunks_mut(tile * len).enumerate() {
            let first = &a.data[(rows.start + t * tile) * a.row_stride + ks.start..];
            let m = out.len() / len;
            interleave(first, a.row_stride, m, len, out, m);
        }
    } else {
        match tile {
            6 => gather::<6>(a, rows, ks, out),
            _ => gather::<14>(a, rows, ks, out),
        }
    }
    if precision == Precision::Bf16 {
        round_to_bf16(out);
    }
}

/// [`pack_rows`] for contiguous rows, in tiles of T.
fn gather<const T: usize>(a: Mat, rows: Range<usize>, ks: Range<usize>, out: &mut [f32]) {
    /// Values of k at a time: few enough streams to read, long enough runs to write.
    const RUN: usize = 16;
    let len = ks.len();
    for first in (0..len).step_by(RUN) {
        for (t, out) in out.chunks_mut(T * len).enumerate() {
            let m = out.len() / len;
            for l in first..len.min(first + RUN) {
                let x = &a.data[(ks.start + l) * a.col_stride + rows.start + t * T..];
                match (out[l * m..].first_chunk_mut::<T>(), x.first_chunk::<T>()) {
                    // With a known length, this is two or three moves instead of a call.
                    (Some(out), Some(x)) if m == T => *out = *x,
                    _ => out[l * m..][..m].copy_from_slice(&x[..m]),
                }
            }
        }
    }
}

/// Writes out[l · step + r] = x[r · ld + l] for `m` ≤ 16 rows of `len` values. Values between the rows of `out` may be
/// zeroed.
pub(super) fn interleave(x: &[f32], ld: usize, m: usize, len: usize, out: &mut [f32], step: usize) {
    assert!(
        m <= 16 && m <= step && x.len() >= (m - 1) * ld + len && out.len() >= (len - 1) * step + m,
        "invariant: rows and tile fit"
    );
    match level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has AVX-512; sizes were checked.
        Level::Avx512 => unsafe { interleave_avx512(x.as_ptr(), ld, m, len, (out.as_mut_ptr(), step)) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has AVX2; sizes were checked.
        Level::Avx2 => unsafe { crate::cpu::isa::avx2::interleave(x.as_ptr(), ld, m, len, out, step) },
        _ => {
            for r in 0..m {
                x[r * ld..][..len].iter().enumerate().for_each(|(l, x)| out[l * step + r] = *x);
            }
        }
    }
}

/// # Safety
/// The processor has AVX-512; x holds `m` ≤ 16 rows of `len`, out `len` rows of `m`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn interleave_avx512(x: *const f32, ld: usize, m: usize, len: usize, out: (*mut f32, usize)) {
    use crate::cpu::isa::avx512::{mask, transpose};
    use std::arch::x86_64::*;
    for l in (0..len).step_by(16) {
        let mut rows = [_mm512_setzero_si512(); 16];
        // SAFETY: masked to the values that exist.
        unsafe {
            for (r, row) in rows.iter_mut().enumerate().take(m) {
                *row = _mm512_maskz_loadu_epi32(mask(len - l), x.add(r * ld + l).cast());
            }
            transpose(&mut rows);
            for (i, row) in rows.iter().enumerate().take(len - l) {
                _mm512_mask_storeu_epi32(out.0.add((l + i) * out.1).cast(), mask(m), *row);
            }
        }
    }
}

/// Computes one tile: `m` rows of A, `k` values each, times `panels` panels.
fn tile((m, k, panels): (usize, usize, usize), a: Rows, b: &[f32], out: Out) {
    assert!(
        b.len() >= k * panels * panel_width() && out.width <= panels * panel_width(),
        "invariant: panels of k rows"
    );
    match a {
        Rows::Packed(a) => assert!(a.len() >= k * m, "invariant: the tile is packed"),
        Rows::InPlace(a, ld) => assert!(a.len() >= (m - 1) * ld + k, "invariant: the rows are there"),
    }
    match (level(), a) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has AVX-512; sizes were checked.
        (Level::Avx512, Rows::Packed(a)) => unsafe { tile_avx512(m, a.as_ptr(), k, b.as_ptr(), out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has AVX2 and FMA; sizes were checked.
        (Level::Avx2, Rows::Packed(a)) => unsafe { tile_avx2(m, panels, a.as_ptr(), k, b.as_ptr(), out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        (Level::Avx2, Rows::InPlace(a, ld)) => unsafe {
            tile_avx2_in_place(m, panels, (a.as_ptr(), ld), k, b.as_ptr(), out)
        },
        (_, Rows::Packed(a)) => tile_portable(m, a, b, out),
        (_, Rows::InPlace(..)) => unreachable!("invariant: only AVX2 reads rows in place"),
    }
}

fn tile_portable(m: usize, a: &[f32], panel: &[f32], out: Out) {
    for r in 0..m {
        let mut acc = [0f32; PANEL];
        for (a, b) in a.chunks_exact(m).zip(panel.as_chunks::<PANEL>().0) {
            for l in 0..PANEL {
                acc[l] = a[r].mul_add(b[l], acc[l]);
            }
        }
        for (l, acc) in acc.iter().enumerate().take(out.width) {
            // SAFETY: column l < width of row r of C.
            let c = unsafe { &mut *out.c.add(r * out.ld + l) };
            *c = if out.add { out.alpha.mul_add(*acc, *c) } else { out.alpha * acc };
        }
    }
}

/// Calls [`registers`] with constant numbers of rows and vectors: (`$m`, `$n`) is one of the listed pairs.
macro_rules! with_sizes {
    ($v:ty, $packed:literal, $width:literal, ($m:expr, $n:expr), $args:tt, $($rows:literal x $vectors:literal),*) => {
        match ($m, $n) {
            $(($rows, $vectors) => with_sizes!(@call $v, $packed, $width, $rows, $vectors, $args),)*
            _ => unreachable!("invariant: a tile fits the registers"),
        }
    };
    (@call $v:ty, $packed:literal, $width:literal, $rows:literal, $vectors:literal, ($($arg:expr),*)) => {
        registers::<$v, $packed, $width, $rows, $vectors>($($arg),*)
    };
}

/// # Safety
/// The processor has AVX-512; the other conditions are those of [`registers`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn tile_avx512(m: usize, a: *const f32, k: usize, panel: *const f32, out: Out) {
    use crate::cpu::simd::vector::Avx512;
    // SAFETY: as promised by the caller.
    unsafe {
        with_sizes!(Avx512, true, 32, (m, 2), ((a, 1), k, panel, out), 1 x 2, 2 x 2, 3 x 2, 4 x 2, 5 x 2, 6 x 2, 7 x 2,
            8 x 2, 9 x 2, 10 x 2, 11 x 2, 12 x 2, 13 x 2, 14 x 2)
    }
}

/// # Safety
/// The processor has AVX2 and FMA; the other conditions are those of [`registers`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn tile_avx2(m: usize, panels: usize, a: *const f32, k: usize, b: *const f32, out: Out) {
    use crate::cpu::simd::vector::Avx2;
    // SAFETY: as promised by the caller.
    unsafe {
        with_sizes!(Avx2, true, 16, (m, panels), ((a, 1), k, b, out), 1 x 1, 2 x 1, 3 x 1, 4 x 1, 5 x 1, 6 x 1, 1 x 2,
            2 x 2, 3 x 2)
    }
}

/// # Safety
/// The processor has AVX2 and FMA; the other conditions are those of [`registers`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn tile_avx2_in_place(m: usize, panels: usize, a: (*const f32, usize), k: usize, b: *const f32, out: Out) {
    use crate::cpu::simd::vector::Avx2;
    // SAFETY: as promised by the caller.
    unsafe {
        with_sizes!(Avx2, false, 16, (m, panels), (a, k, b, out), 1 x 1, 2 x 1, 3 x 1, 4 x 1, 5 x 1, 6 x 1, 1 x 2,
            2 x 2, 3 x 2)
    }
}

/// Multiplies M rows by N vectors of 16 columns, accumulated in registers. The rows are `[k][M]` if PACKED, otherwise
/// `ld` apart; panels have WIDTH columns.
///
/// # Safety
/// V's instructions are available; `a` holds M rows of k values, `b` whole panels of k rows for N vectors; `out` is
/// valid for M rows of `out.width` values.
#[inline(always)]
unsafe fn registers<V: Vector, const PACKED: bool, const WIDTH: usize, const M: usize, const N: usize>(
    (a, ld): (*const f32, usize),
    k: usize,
    b: *const f32,
    out: Out,
) {
    // SAFETY: as promised by the caller; the mask ends at the width.
    unsafe {
        let rows: [*const f32; M] = std::array::from_fn(|i| a.wrapping_add(i * ld));
        let columns: [*const f32; N] =
            std::array::from_fn(|v| b.wrapping_add(v * 16 / WIDTH * WIDTH * k + v * 16 % WIDTH));
        for i in 0..M {
            V::prefetch(out.c.wrapping_add(i * out.ld));
        }
        let mut acc = [[V::splat(0.0); N]; M];
        for l in 0..k {
            let b = columns.map(|b| V::load(b.add(l * WIDTH)));
            for (i, acc) in acc.iter_mut().enumerate() {
                let x = V::splat(if PACKED { *a.add(l * M + i) } else { *rows[i].add(l) });
                for (acc, &b) in acc.iter_mut().zip(&b) {
                    *acc = x.fma(b, *acc);
                }
            }
        }
        let masks: [V::Mask; N] = std::array::from_fn(|v| V::mask(out.width.saturating_sub(16 * v)));
        let alpha = V::splat(out.alpha);
        for (i, acc) in acc.iter().enumerate() {
            for (v, (&acc, &mask)) in acc.iter().zip(&masks).enumerate() {
                let c = out.c.add(i * out.ld).wrapping_add(16 * v);
                let value = if out.add { alpha.fma(acc, V::load_mask(c, mask)) } else { alpha.mul(acc) };
                value.store_mask(c, mask);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Rhs, gemm, random, reference};
    use super::*;
    use crate::cpu::gemm::Packed;

    #[test]
    fn same_bits_as_the_reference_whatever_the_shape_threads_and_packing() {
        for (seed, (m, n, k)) in
            [(1, 1, 1), (1, 33, 5), (7, 64, 384), (14, 32, 385), (15, 40, 17), (130, 600, 400), (97, 31, 800)]
                .into_iter()
                .enumerate()
        {
            let (x, y, z) = (random(seed as u64, m * k), random(9, k * n), random(10, m * n));
            for precision in [Precision::F32, Precision::Bf16] {
                #[cfg(target_arch = "x86_64")]
                if super::super::layout::bf16_unit(precision).is_some() {
                    continue; // tested in bf16.rs
                }
                for (at, bt, add) in
                    [(false, false, false), (true, false, true), (false, true, true), (true, true, false)]
                {
                    let a = if at { Mat::new(&x, k, m).t() } else { Mat::new(&x, m, k) };
                    let b = if bt { Mat::new(&y, n, k).t() } else { Mat::new(&y, k, n) };
                    let mut want = z.clone();
                    reference(precision, 0.7, a, b, add, MatMut::new(&mut want, m, n));
                    let mut packed = None;
                    Packed::pack(&mut packed, precision, b);
                    for threads in [1, 3] {
                        for b in [Rhs::Mat(b), Rhs::Packed(packed.as_ref().unwrap())] {
                            let mut got = z.clone();
                            pool::with_threads(threads, || {
                                gemm(precision, 0.7, a, b, add, MatMut::new(&mut got, m, n));
                            });
                            assert!(got == want, "{m}×{n}×{k} {precision:?} {at} {bt} {add} {threads}");
                        }
                    }
                }
            }
        }
    }
}
