//! bf16 pairs with vector instructions: `vdpbf16ps` adds to each of 16 sums the product of two pairs of bf16. Denormals
//! count as zero, and the two products of a pair are added in the instruction's own order (AMD APM vol. 4, VDPBF16PS).
//! So the bits depend on which two k share a pair, never on M or N.

use std::arch::x86_64::*;

/// Rows whose sums stay in registers: 8 × 2 chains hide a latency of six cycles at two instructions per cycle.
const ROWS: usize = 8;

/// Computes C (`rows` × 32, rows `ld` values apart) = (C if `start`, else 0) + A · B over `steps` steps of 32 k, in the
/// tiles of [`super::amx::block32`].
///
/// # Safety
/// AVX-512 with BF16 is available; a holds `steps` tiles for every 16 rows, b `steps` × 2; c holds these rows of 32
/// values.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn block(
    rows: usize,
    steps: usize,
    a: *const u16,
    b: *const u16,
    (c, ld): (*mut f32, usize),
    start: bool,
) {
    for first in (0..rows).step_by(ROWS) {
        // SAFETY: row `first` lies in tile `first / 16` of A's tiles, `first % 16` lines of 32 values into it.
        unsafe {
            let a = a.add(first / 16 * steps * 512 + first % 16 * 32);
            let c = (c.add(first * ld), ld);
            match rows - first {
                1 => registers::<1>(steps, a, b, c, start),
                2 => registers::<2>(steps, a, b, c, start),
                3 => registers::<3>(steps, a, b, c, start),
                4 => registers::<4>(steps, a, b, c, start),
                5 => registers::<5>(steps, a, b, c, start),
                6 => registers::<6>(steps, a, b, c, start),
                7 => registers::<7>(steps, a, b, c, start),
                _ => registers::<ROWS>(steps, a, b, c, start),
            }
        }
    }
}

/// [`block`] for M rows of one tile, accumulated in registers.
///
/// # Safety
/// As [`block`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn registers<const M: usize>(
    steps: usize,
    a: *const u16,
    b: *const u16,
    (c, ld): (*mut f32, usize),
    start: bool,
) {
    // SAFETY: as promised by the caller; vectors of pairs are plain data.
    unsafe {
        let pairs = |x: __m512i| std::mem::transmute::<__m512i, __m512bh>(x);
        let mut acc = [[_mm512_setzero_ps(); 2]; M];
        if start {
            for (r, acc) in acc.iter_mut().enumerate() {
                *acc = [_mm512_loadu_ps(c.add(r * ld)), _mm512_loadu_ps(c.add(r * ld + 16))];
            }
        }
        for s in 0..steps {
            let (a, b) = (a.add(512 * s).cast::<i32>(), b.add(1024 * s));
            for pair in 0..16 {
                let columns = [0, 512].map(|h| pairs(_mm512_loadu_si512(b.add(32 * pair + h).cast())));
                for (r, acc) in acc.iter_mut().enumerate() {
                    let x = pairs(_mm512_set1_epi32(a.add(16 * r + pair).read_unaligned()));
                    for (acc, &columns) in acc.iter_mut().zip(&columns) {
                        *acc = _mm512_dpbf16_ps(*acc, x, columns);
                    }
                }
            }
        }
        for (r, acc) in acc.iter().enumerate() {
            _mm512_storeu_ps(c.add(r * ld), acc[0]);
            _mm512_storeu_ps(c.add(r * ld + 16), acc[1]);
        }
    }
}

/// Runs `rounds` × 16 products in registers and returns the number of floating-point operations.
///
/// # Safety
/// AVX-512 with BF16 is available.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn measure_peak(rounds: usize) -> f64 {
    let mut acc = [_mm512_setzero_ps(); 2 * ROWS];
    // SAFETY: pairs of bf16 are plain data: 1.0 and 0.0.
    let x = unsafe { std::mem::transmute::<__m512i, __m512bh>(std::hint::black_box(_mm512_set1_epi32(0x3f80))) };
    for _ in 0..rounds {
        for acc in &mut acc {
            *acc = _mm512_dpbf16_ps(*acc, x, x);
        }
    }
    std::hint::black_box(acc);
    (rounds * 2 * ROWS * 2 * 32) as f64
}
