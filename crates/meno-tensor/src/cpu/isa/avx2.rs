//! AVX2 building blocks of the packers: an 8 × 8 transpose.

use std::arch::x86_64::*;

/// Transposes an 8 × 8 matrix.
#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn transpose(r: [__m256; 8]) -> [__m256; 8] {
    let mut pairs = [_mm256_setzero_ps(); 8];
    for i in 0..4 {
        pairs[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        pairs[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    let mut quads = [_mm256_setzero_ps(); 8];
    for i in 0..2 {
        for j in 0..2 {
            let (a, b) = (pairs[4 * i + j], pairs[4 * i + 2 + j]);
            quads[4 * i + 2 * j] = _mm256_shuffle_ps::<0x44>(a, b);
            quads[4 * i + 2 * j + 1] = _mm256_shuffle_ps::<0xee>(a, b);
        }
    }
    let mut out = [_mm256_setzero_ps(); 8];
    for i in 0..4 {
        out[i] = _mm256_permute2f128_ps::<0x20>(quads[i], quads[i + 4]);
        out[i + 4] = _mm256_permute2f128_ps::<0x31>(quads[i], quads[i + 4]);
    }
    out
}

/// Writes out[l · step + r] = x[r · ld + l] for `m` rows of `len` values, in blocks of 8 × 8. Up to seven values after
/// the last r may be written as 0: padding up to `step`, or values of the next l, which are written later.
///
/// # Safety
/// The processor has AVX2; x is readable for `m` rows of `len` values; `step` ≥ m.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn interleave(x: *const f32, ld: usize, m: usize, len: usize, out: &mut [f32], step: usize) {
    assert!(m <= step && (len == 0 || out.len() >= (len - 1) * step + m), "invariant: the rows fit");
    for l in (0..len).step_by(8) {
        let count = 8.min(len - l);
        for r in (0..m).step_by(8) {
            let rows = 8.min(m - r);
            let mut block = [_mm256_setzero_ps(); 8];
            for (i, row) in block.iter_mut().enumerate().take(rows) {
                // SAFETY: row r + i has values l..l + count.
                *row = unsafe { load(x.add((r + i) * ld + l), count) };
            }
            for (i, column) in transpose(block).into_iter().enumerate().take(count) {
                let at = (l + i) * step + r;
                if at + 8 <= out.len() && (rows == 8 || r == 0 || r + 8 <= step) {
                    // SAFETY: eight values from `at` are inside `out`.
                    unsafe { _mm256_storeu_ps(out[at..].as_mut_ptr(), column) };
                } else {
                    let mut lanes = [0f32; 8];
                    // SAFETY: the array has eight values.
                    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), column) };
                    out[at..at + rows].copy_from_slice(&lanes[..rows]);
                }
            }
        }
    }
}

/// Loads the first `n` of eight values; the rest is 0.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load(p: *const f32, n: usize) -> __m256 {
    if n >= 8 {
        // SAFETY: eight values are readable.
        return unsafe { _mm256_loadu_ps(p) };
    }
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), lanes);
    // SAFETY: masked lanes are not read.
    unsafe { _mm256_maskload_ps(p, mask) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interleaves_any_number_of_rows() {
        if crate::cpu::simd::level() < crate::cpu::simd::Level::Avx2 {
            return;
        }
        for (m, len, step) in
            [(1, 1, 1), (6, 16, 6), (5, 19, 5), (8, 8, 8), (13, 21, 32), (13, 21, 14), (13, 21, 13), (3, 7, 32)]
        {
            let ld = len + 3;
            let x: Vec<f32> = (0..m * ld).map(|i| i as f32).collect();
            let mut out = vec![-1f32; (len - 1) * step + m];
            // SAFETY: AVX2 was found, x has m rows of ld ≥ len values.
            unsafe { interleave(x.as_ptr(), ld, m, len, &mut out, step) };
            for l in 0..len {
                for r in 0..m {
                    assert_eq!(out[l * step + r], x[r * ld + l], "{m} rows of {len}, {step} apart: ({r}, {l})");
                }
            }
        }
    }
}
