//! bf16 by the matrix unit (AMX): C tiles of 16 × 16 f32, `tdpbf16ps` over 32 values of k at a time.
//!
//! An output element is a chain over k in blocks of [`BLOCK`], in the instruction's own order of pairs, whatever the
//! shape, the packing or the threads: a row of C depends on its row of A and on B only. Denormals count as zero.
//! Stable Rust has no AMX intrinsics, so the tile instructions are inline assembly.

use super::{Mat, MatMut};
use crate::buffer::Buffer;
use crate::pool;
use std::arch::asm;
use std::arch::x86_64::*;
use std::cell::RefCell;
use std::sync::OnceLock;

/// Values of k in one accumulation block (a multiple of 32).
const BLOCK: usize = 512;
/// bf16 of one tile: 16 lines of 32.
const TILE: usize = 512;
/// Columns of a panel: two tiles.
const PANEL: usize = 32;
/// Rows and columns of one task.
const ROWS: usize = 128;
const COLUMNS: usize = 512;

/// Whether this processor has AMX for bf16 and the system lets us use it.
pub(super) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        if std::env::var_os("MENO_CPU").is_some_and(|level| level != "amx") || !cfg!(target_os = "linux") {
            return false;
        }
        let wide = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bf16");
        // CPUID leaf 7: EDX bit 22 is AMX-BF16, bit 24 AMX-TILE.
        wide && __cpuid(0).eax >= 7
            && __cpuid_count(7, 0).edx & (1 << 22 | 1 << 24) == (1 << 22 | 1 << 24)
            && permitted()
    })
}

/// Asks Linux for the tile registers (arch_prctl ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA).
fn permitted() -> bool {
    // SAFETY: a system call with two integers.
    unsafe { libc::syscall(libc::SYS_arch_prctl, 0x1023, 18) == 0 }
}

#[repr(C, align(64))]
struct Config([u8; 64]);

/// Eight tiles of 16 rows × 64 bytes.
static CONFIG: Config = {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    let mut t = 0;
    while t < 8 {
        bytes[16 + 2 * t] = 64;
        bytes[48 + t] = 16;
        t += 1;
    }
    Config(bytes)
};

fn mask16(n: usize) -> u16 {
    if n >= 16 { u16::MAX } else { (1 << n) - 1 }
}

/// Lines of k of a matrix: line i, value l at `data[i * line + l * k]`; one of the strides is 1.
#[derive(Clone, Copy)]
struct Lines<'a> {
    data: &'a [f32],
    line: usize,
    k: usize,
}

/// 16 lines × 32 values of k from (i, l) as pairs of bf16; `lines` and `ks` of them exist, the rest is 0.
/// Line-major (A: `[line][pair]`) or pair-major (B: `[pair][line]`).
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
                    _mm512_maskz_loadu_ps(mask16(ks), p),
                    _mm512_maskz_loadu_ps(mask16(ks.saturating_sub(16)), p.wrapping_add(16)),
                )
            } else {
                let load = |l: usize| {
                    if l < ks { _mm512_maskz_loadu_ps(mask16(lines), base.add(l * x.k)) } else { _mm512_setzero_ps() }
                };
                (load(2 * r), load(2 * r + 1))
            };
            let pairs: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(high, low));
            *row = if by_line { pairs } else { interleave(pairs) };
        }
        if by_line != line_major {
            transpose(&mut rows);
        }
        for (r, row) in rows.iter().enumerate() {
            _mm512_storeu_si512(out.add(32 * r).cast(), *row);
        }
    }
}

/// [16 low | 16 high] → pairs (low, high).
#[target_feature(enable = "avx512f,avx512bw")]
fn interleave(x: __m512i) -> __m512i {
    const INDEX: [u16; 32] = {
        let mut index = [0; 32];
        let mut i = 0;
        while i < 16 {
            index[2 * i] = i as u16;
            index[2 * i + 1] = 16 + i as u16;
            i += 1;
        }
        index
    };
    // SAFETY: INDEX is 64 bytes.
    unsafe { _mm512_permutexvar_epi16(_mm512_loadu_si512(INDEX.as_ptr().cast()), x) }
}

/// Transposes a 16 × 16 matrix of 32-bit values.
#[target_feature(enable = "avx512f")]
fn transpose(r: &mut [__m512i; 16]) {
    let mut t = [_mm512_setzero_si512(); 16];
    for i in 0..8 {
        t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    for i in 0..4 {
        r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    for i in 0..4 {
        t[i] = _mm512_shuffle_i32x4::<0x88>(r[i], r[i + 4]);
        t[i + 4] = _mm512_shuffle_i32x4::<0xdd>(r[i], r[i + 4]);
        t[i + 8] = _mm512_shuffle_i32x4::<0x88>(r[i + 8], r[i + 12]);
        t[i + 12] = _mm512_shuffle_i32x4::<0xdd>(r[i + 8], r[i + 12]);
    }
    for i in 0..8 {
        r[i] = _mm512_shuffle_i32x4::<0x88>(t[i], t[i + 8]);
        r[i + 8] = _mm512_shuffle_i32x4::<0xdd>(t[i], t[i + 8]);
    }
}

/// f32 of memory that B of this shape takes packed.
pub(super) fn packed_len(k: usize, n: usize) -> usize {
    k.next_multiple_of(32) * n.next_multiple_of(PANEL) / 2
}

/// Packs B for [`multiply`]: blocks of k; in each, panels; in each, 32 values of k of two tiles.
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
                    // SAFETY: AVX-512 is there (`available`); a panel has room for its tiles.
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

/// Memory of a thread for rows of A and results, aligned to cache lines.
fn with_buffer<R>(f: impl FnOnce(&mut [f32]) -> R) -> R {
    thread_local! { static BUFFER: RefCell<Buffer> = RefCell::default(); }
    BUFFER.with_borrow_mut(|b| {
        if b.is_empty() {
            *b = Buffer::zeroed(ROWS * BLOCK / 2 + PANEL * PANEL);
        }
        f(b)
    })
}

/// C (+)= alpha · A · B, B packed by [`pack`].
pub(super) fn multiply(alpha: f32, a: Mat, b: &[f32], n: usize, accumulate: bool, c: MatMut) {
    let k = a.cols;
    let x = Lines { data: a.data, line: a.row_stride, k: a.col_stride };
    let rows = a.rows.div_ceil(pool::threads()).next_multiple_of(32).min(ROWS);
    let (row_tasks, column_tasks) = (a.rows.div_ceil(rows), n.div_ceil(COLUMNS));
    let padded = n.next_multiple_of(PANEL);
    let (data, ld) = (c.data.as_mut_ptr() as usize, c.ld);
    pool::for_each(row_tasks * column_tasks, |task| {
        let (i0, j0) = (task / column_tasks * rows, task % column_tasks * COLUMNS);
        let (count, j1) = (rows.min(a.rows - i0), n.min(j0 + COLUMNS));
        with_buffer(|buffer| {
            let (packed, result) = buffer.split_at_mut(ROWS * BLOCK / 2);
            let packed = packed.as_mut_ptr().cast::<u16>();
            for block in (0..k).step_by(BLOCK) {
                let valid = BLOCK.min(k - block);
                let len = valid.next_multiple_of(32);
                let steps = len / 32;
                for i in (0..count).step_by(16) {
                    for s in 0..steps {
                        // SAFETY: AVX-512 is there; tile (i, s) lies in the buffer of ROWS × BLOCK.
                        unsafe {
                            let out = packed.add((i / 16 * steps + s) * TILE);
                            pack_tile(x, i0 + i, block + 32 * s, count - i, valid - 32 * s, true, out);
                        }
                    }
                }
                let add = accumulate || block > 0;
                for j in (j0..j1).step_by(PANEL) {
                    let panel = b[(block * padded + j * len) / 2..].as_ptr().cast::<u16>();
                    for i in (0..count).step_by(32) {
                        let two = count - i > 16;
                        // SAFETY: AMX is there; both operands hold `steps` tiles; C was checked to have these
                        // rows and columns.
                        unsafe {
                            let rows = packed.add(i / 16 * steps * TILE);
                            tiles(rows, panel, steps, two, result.as_mut_ptr());
                            let c = (data as *mut f32).add((i0 + i) * ld + j);
                            store(result, c, ld, (32.min(count - i), PANEL.min(n - j)), alpha, add);
                        }
                    }
                }
            }
        });
    });
}

/// result[32][32] = rows (one or two tiles) × a panel.
///
/// # Safety
/// AMX must be available; `a` holds `steps` tiles for each row tile, `b` 2 · `steps`, `result` 1024 f32.
unsafe fn tiles(a: *const u16, b: *const u16, steps: usize, two: bool, result: *mut f32) {
    // SAFETY: reads stay within `a` and `b` as promised, writes within `result`; the tile registers are released.
    unsafe {
        asm!(
            "ldtilecfg [{config}]", "tilezero tmm0", "tilezero tmm1",
            config = in(reg) &CONFIG, options(nostack)
        );
        if two {
            asm!(
                "tilezero tmm2", "tilezero tmm3",
                "2:",
                "tileloadd tmm4, [{a} + {stride}*1]",
                "tileloadd tmm6, [{b} + {stride}*1]",
                "tileloadd tmm7, [{b} + {stride}*1 + 1024]",
                "tileloadd tmm5, [{a2} + {stride}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {a}, 1024", "add {a2}, 1024", "add {b}, 2048",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{c} + {ldc}*1], tmm0",
                "tilestored [{c} + {ldc}*1 + 64], tmm1",
                "tilestored [{c} + {ldc}*1 + 2048], tmm2",
                "tilestored [{c} + {ldc}*1 + 2112], tmm3",
                "tilerelease",
                a = inout(reg) a => _, a2 = inout(reg) a.add(steps * TILE) => _, b = inout(reg) b => _,
                steps = inout(reg) steps => _, stride = in(reg) 64usize, c = in(reg) result, ldc = in(reg) 128usize,
                options(nostack)
            );
        } else {
            asm!(
                "2:",
                "tileloadd tmm4, [{a} + {stride}*1]",
                "tileloadd tmm6, [{b} + {stride}*1]",
                "tileloadd tmm7, [{b} + {stride}*1 + 1024]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "add {a}, 1024", "add {b}, 2048",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{c} + {ldc}*1], tmm0",
                "tilestored [{c} + {ldc}*1 + 64], tmm1",
                "tilerelease",
                a = inout(reg) a => _, b = inout(reg) b => _,
                steps = inout(reg) steps => _, stride = in(reg) 64usize, c = in(reg) result, ldc = in(reg) 128usize,
                options(nostack)
            );
        }
    }
}

/// Adds (or writes) alpha · result to the valid (rows, columns) of C.
#[target_feature(enable = "avx512f")]
unsafe fn store(result: &[f32], c: *mut f32, ld: usize, (rows, cols): (usize, usize), alpha: f32, add: bool) {
    let alpha = _mm512_set1_ps(alpha);
    let masks = [mask16(cols), mask16(cols.saturating_sub(16))];
    for r in 0..rows {
        for (h, &mask) in masks.iter().enumerate() {
            // SAFETY: masked to the valid columns of a valid row; `result` is 32 × 32.
            unsafe {
                let c = c.add(r * ld).wrapping_add(16 * h);
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

#[cfg(test)]
mod tests {
    use super::super::{Packed, Precision, Rhs, gemm, reference};
    use super::*;
    use crate::rng::Rng;

    fn random(seed: u64, n: usize) -> Vec<f32> {
        let mut rng = Rng::new(&[seed]);
        (0..n).map(|_| rng.normal()).collect()
    }

    #[test]
    fn close_to_the_reference_and_the_same_bits_for_any_rows_threads_and_packing() {
        if !available() {
            eprintln!("no AMX on this processor: nothing to test");
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
