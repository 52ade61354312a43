//! The f32 kernels: tiles of up to 14 rows × 32 columns held in registers, the same chains as [`super::reference`].

use super::packed::{PANEL, View};
use super::{K_BLOCK, Mat, MatMut, Precision, Split, round};
use crate::pool;
use crate::simd::{Level, level};
use std::cell::RefCell;
use std::ops::Range;

/// Rows of a register tile: 28 of 32 vector registers accumulate.
const TILE: usize = 14;
/// Most rows of one task: packed, they take 300 KB of the outer cache.
const ROWS: usize = 14 * TILE;

/// Where a tile's results go.
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

/// C (+)= alpha · A · B with B packed.
pub(super) fn multiply(precision: Precision, alpha: f32, a: Mat, b: View, accumulate: bool, c: MatMut) {
    if b.k == 0 {
        return super::no_products(accumulate, c);
    }
    let split = Split::new(a.rows, b.n, ROWS, TILE);
    let (data, ld, n) = (c.data.as_mut_ptr() as usize, c.ld, b.n);
    pool::for_each(split.tasks(), |task| {
        let (rows, columns) = split.task(task);
        let (first, count) = (rows.start, rows.len());
        with_buffer(count * K_BLOCK, |buffer| {
            for block in (0..b.k).step_by(K_BLOCK) {
                let len = K_BLOCK.min(b.k - block);
                pack_rows(precision, a, rows.clone(), block..block + len, buffer);
                for j in columns.clone().step_by(PANEL) {
                    let panel = b.panel(block, len, j);
                    for i in (0..count).step_by(TILE) {
                        let m = TILE.min(count - i);
                        // SAFETY: (first + i, j) lies inside C, whose size was checked against its rows and ld.
                        let c = unsafe { (data as *mut f32).add((first + i) * ld + j) };
                        let out = Out { c, ld, width: PANEL.min(n - j), alpha, add: accumulate || block > 0 };
                        tile(m, &buffer[i * len..][..m * len], &panel[..len * PANEL], out);
                    }
                }
            }
        });
    });
}

/// Memory of a thread for packed rows.
fn with_buffer<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    thread_local! { static BUFFER: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) }; }
    BUFFER.with_borrow_mut(|b| {
        if b.len() < len {
            b.resize(len, 0.0);
        }
        f(&mut b[..len])
    })
}

/// Rows and k ranges of A as tiles `[k][rows of the tile]`, one tile after the other.
fn pack_rows(precision: Precision, a: Mat, rows: Range<usize>, ks: Range<usize>, out: &mut [f32]) {
    let (len, count) = (ks.len(), rows.len());
    let out = &mut out[..count * len];
    if a.col_stride == 1 {
        for (t, out) in out.chunks_mut(TILE * len).enumerate() {
            let first = &a.data[(rows.start + t * TILE) * a.row_stride + ks.start..];
            interleave(first, a.row_stride, out.len() / len, len, out);
        }
    } else {
        for (l, k) in ks.enumerate() {
            let row = &a.data[k * a.col_stride + rows.start..][..count];
            for (t, x) in row.chunks(TILE).enumerate() {
                out[t * TILE * len + l * x.len()..][..x.len()].copy_from_slice(x);
            }
        }
    }
    if precision == Precision::Bf16 {
        out.iter_mut().for_each(|x| *x = round(precision, *x));
    }
}

/// out[l][r] = x[r][l] for `m` ≤ 16 rows `ld` apart, `len` values each.
pub(super) fn interleave(x: &[f32], ld: usize, m: usize, len: usize, out: &mut [f32]) {
    assert!(m <= 16 && x.len() >= (m - 1) * ld + len && out.len() >= m * len, "invariant: rows and tile fit");
    #[cfg(target_arch = "x86_64")]
    if level() == Level::Avx512 {
        // SAFETY: the processor has AVX-512; sizes were checked.
        unsafe { interleave_avx512(x.as_ptr(), ld, m, len, (out.as_mut_ptr(), m)) };
        return;
    }
    for (r, x) in x.chunks(ld).take(m).enumerate() {
        x[..len].iter().enumerate().for_each(|(l, x)| out[l * m + r] = *x);
    }
}

/// As [`interleave`], with rows of `out` some distance apart.
///
/// # Safety
/// The processor has AVX-512; x holds `m` ≤ 16 rows of `len`, out `len` rows of `m`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn interleave_avx512(x: *const f32, ld: usize, m: usize, len: usize, out: (*mut f32, usize)) {
    use crate::cpu::avx512::{mask, transpose};
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

/// One tile: `m` rows of `a` (`[k][m]`) times a panel.
fn tile(m: usize, a: &[f32], panel: &[f32], out: Out) {
    #[cfg(target_arch = "x86_64")]
    if level() == Level::Avx512 {
        // SAFETY: the processor has AVX-512; a and panel hold k × m and k × PANEL values, out was checked.
        unsafe {
            match m {
                1 => avx512::<1>(a, panel, out),
                2 => avx512::<2>(a, panel, out),
                3 => avx512::<3>(a, panel, out),
                4 => avx512::<4>(a, panel, out),
                5 => avx512::<5>(a, panel, out),
                6 => avx512::<6>(a, panel, out),
                7 => avx512::<7>(a, panel, out),
                8 => avx512::<8>(a, panel, out),
                9 => avx512::<9>(a, panel, out),
                10 => avx512::<10>(a, panel, out),
                11 => avx512::<11>(a, panel, out),
                12 => avx512::<12>(a, panel, out),
                13 => avx512::<13>(a, panel, out),
                _ => avx512::<14>(a, panel, out),
            }
        }
        return;
    }
    for r in 0..m {
        let mut acc = [0f32; PANEL];
        row(m, r, a, panel, &mut acc);
        for (l, acc) in acc.iter().enumerate().take(out.width) {
            // SAFETY: column l < width of row r of C.
            let c = unsafe { &mut *out.c.add(r * out.ld + l) };
            *c = if out.add { out.alpha.mul_add(*acc, *c) } else { out.alpha * acc };
        }
    }
}

crate::simd::multiversion! {
    /// One row of a tile on processors without AVX-512.
    fn row(m: usize, r: usize, a: &[f32], panel: &[f32], acc: &mut [f32; 32]) {
        for (a, b) in a.chunks_exact(m).zip(panel.as_chunks::<32>().0) {
            for l in 0..32 {
                acc[l] = a[r].mul_add(b[l], acc[l]);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512<const M: usize>(a: &[f32], panel: &[f32], out: Out) {
    use crate::cpu::avx512::mask;
    use std::arch::x86_64::*;
    let k = a.len() / M;
    debug_assert!(panel.len() >= k * PANEL);
    let (mut pa, mut pb) = (a.as_ptr(), panel.as_ptr());
    let mut acc = [[_mm512_setzero_ps(); 2]; M];
    for _ in 0..k {
        // SAFETY: pa and pb advance k times by M and PANEL within their slices.
        unsafe {
            let (b0, b1) = (_mm512_loadu_ps(pb), _mm512_loadu_ps(pb.add(16)));
            for (i, acc) in acc.iter_mut().enumerate() {
                let x = _mm512_set1_ps(*pa.add(i));
                acc[0] = _mm512_fmadd_ps(x, b0, acc[0]);
                acc[1] = _mm512_fmadd_ps(x, b1, acc[1]);
            }
            pa = pa.add(M);
            pb = pb.add(PANEL);
        }
    }
    let masks = [mask(out.width), mask(out.width.saturating_sub(16))];
    let alpha = _mm512_set1_ps(out.alpha);
    for (i, acc) in acc.iter().enumerate() {
        for (j, (&acc, &mask)) in acc.iter().zip(&masks).enumerate() {
            // SAFETY: masked to the valid columns of row i of C.
            unsafe {
                let c = out.c.add(i * out.ld).wrapping_add(16 * j);
                let value = if out.add {
                    _mm512_fmadd_ps(alpha, acc, _mm512_maskz_loadu_ps(mask, c))
                } else {
                    _mm512_mul_ps(alpha, acc)
                };
                _mm512_mask_storeu_ps(c, mask, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Rhs, gemm, reference};
    use super::*;
    use crate::gemm::Packed;
    use crate::rng::Rng;

    fn random(seed: u64, n: usize) -> Vec<f32> {
        let mut rng = Rng::new(&[seed]);
        (0..n).map(|_| rng.normal()).collect()
    }

    #[test]
    fn same_bits_as_the_reference_whatever_the_shape_threads_and_packing() {
        for (seed, (m, n, k)) in
            [(1, 1, 1), (1, 33, 5), (7, 64, 384), (14, 32, 385), (15, 40, 17), (130, 600, 400), (97, 31, 800)]
                .into_iter()
                .enumerate()
        {
            let (x, y, z) = (random(seed as u64, m * k), random(9, k * n), random(10, m * n));
            for precision in [Precision::F32, Precision::Bf16] {
                if super::super::amx_is_used(precision) {
                    continue; // tested in amx.rs
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
