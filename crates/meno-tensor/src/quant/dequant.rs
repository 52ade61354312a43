//! Dequantization of ggml's block types, equal bit for bit to ggml's reference (ggml/src/ggml-quants.c,
//! `dequantize_row_*`, without contraction into fused multiply-adds) and to the Python package `gguf`.
//!
//! A block holds a fixed number of consecutive elements of a row: a scale (f16), a minimum for some types, one 4- to
//! 8-bit scale per 16 or 32 elements for the K types, and the packed quants.

use super::GgmlType;
use super::ggml_type::{QK, QK_K};
use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

/// Minimum elements that one task dequantizes: a multiple of every block size.
const TASK: usize = 1 << 16;

/// Dequantizes whole blocks into `out`. Both lengths must agree; they were checked when the header was read.
pub fn dequantize(dtype: GgmlType, data: &[u8], out: &mut [f32]) {
    let bytes_per_task = TASK / dtype.block_elements() * dtype.block_bytes();
    out.par_chunks_mut(TASK).zip(data.par_chunks(bytes_per_task)).for_each(|(out, data)| run(dtype, data, out));
}

/// Dequantizes on one thread.
fn run(dtype: GgmlType, data: &[u8], out: &mut [f32]) {
    match dtype {
        GgmlType::F32 => blocks::<4, 1>(data, out, |b, o| o[0] = f32::from_le_bytes(*b)),
        GgmlType::Bf16 => {
            blocks::<2, 1>(data, out, |b, o| o[0] = f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16))
        }
        GgmlType::F16 => f16s(data, out),
        GgmlType::Q4_0 => blocks(data, out, q4_0),
        GgmlType::Q4_1 => blocks(data, out, q4_1),
        GgmlType::Q5_0 => blocks(data, out, q5_0),
        GgmlType::Q5_1 => blocks(data, out, q5_1),
        GgmlType::Q8_0 => blocks(data, out, q8_0),
        GgmlType::Q2_K => blocks(data, out, q2_k),
        GgmlType::Q3_K => blocks(data, out, q3_k),
        GgmlType::Q4_K => blocks(data, out, q4_k),
        GgmlType::Q5_K => blocks(data, out, q5_k),
        GgmlType::Q6_K => blocks(data, out, q6_k),
        GgmlType::Iq4_NL => blocks(data, out, iq4_nl),
        GgmlType::Iq4_XS => blocks(data, out, iq4_xs),
        GgmlType::Mxfp4 => blocks(data, out, mxfp4),
    }
}

/// Applies `f` to every block of B bytes and E elements.
#[inline(always)]
fn blocks<const B: usize, const E: usize>(data: &[u8], out: &mut [f32], f: impl Fn(&[u8; B], &mut [f32; E])) {
    for (b, o) in data.as_chunks::<B>().0.iter().zip(out.as_chunks_mut::<E>().0) {
        f(b, o);
    }
}

fn f16s(data: &[u8], out: &mut [f32]) {
    let mut aligned = [f16::ZERO; 256];
    for (data, out) in data.chunks(512).zip(out.chunks_mut(256)) {
        for (h, b) in aligned.iter_mut().zip(data.as_chunks::<2>().0) {
            *h = f16::from_le_bytes(*b);
        }
        aligned[..out.len()].convert_to_f32_slice(out);
    }
}

#[inline(always)]
fn scale(b: &[u8]) -> f32 {
    f16::from_le_bytes([b[0], b[1]]).to_f32()
}

/// d: f16, qs: 16 bytes; element i is the low half of byte i, i + 16 the high one.
fn q4_0(b: &[u8; 18], out: &mut [f32; QK]) {
    let d = scale(b);
    for i in 0..16 {
        out[i] = d * (i32::from(b[2 + i] & 15) - 8) as f32;
        out[i + 16] = d * (i32::from(b[2 + i] >> 4) - 8) as f32;
    }
}

/// d, m: f16, qs: 16 bytes as in Q4_0.
fn q4_1(b: &[u8; 20], out: &mut [f32; QK]) {
    let (d, m) = (scale(b), scale(&b[2..]));
    for i in 0..16 {
        out[i] = d * f32::from(b[4 + i] & 15) + m;
        out[i + 16] = d * f32::from(b[4 + i] >> 4) + m;
    }
}

/// d: f16, qh: u32 with the fifth bits, qs: 16 bytes as in Q4_0.
fn q5_0(b: &[u8; 22], out: &mut [f32; QK]) {
    let d = scale(b);
    let qh = u32::from_le_bytes([b[2], b[3], b[4], b[5]]);
    for i in 0..16 {
        let q = b[6 + i];
        let low = u32::from(q & 15) | ((qh >> i & 1) << 4);
        let high = u32::from(q >> 4) | ((qh >> (i + 16) & 1) << 4);
        out[i] = d * (low as i32 - 16) as f32;
        out[i + 16] = d * (high as i32 - 16) as f32;
    }
}

/// d, m: f16, qh and qs as in Q5_0.
fn q5_1(b: &[u8; 24], out: &mut [f32; QK]) {
    let (d, m) = (scale(b), scale(&b[2..]));
    let qh = u32::from_le_bytes([b[4], b[5], b[6], b[7]]);
    for i in 0..16 {
        let q = b[8 + i];
        let low = u32::from(q & 15) | ((qh >> i & 1) << 4);
        let high = u32::from(q >> 4) | ((qh >> (i + 16) & 1) << 4);
        out[i] = d * low as f32 + m;
        out[i + 16] = d * high as f32 + m;
    }
}

/// d: f16, qs: 32 signed bytes.
fn q8_0(b: &[u8; 34], out: &mut [f32; QK]) {
    let d = scale(b);
    for i in 0..QK {
        out[i] = d * f32::from(b[2 + i] as i8);
    }
}

/// Returns the 6-bit scale and minimum of the j-th 32 elements, from the K types' 12 packed bytes.
#[inline(always)]
pub(crate) fn scale_min(s: &[u8], j: usize) -> (f32, f32) {
    let (scale, min) = if j < 4 {
        (s[j] & 63, s[j + 4] & 63)
    } else {
        ((s[j + 4] & 15) | (s[j - 4] >> 6 << 4), (s[j + 4] >> 4) | (s[j] >> 6 << 4))
    };
    (f32::from(scale), f32::from(min))
}

/// 16 bytes with a 4-bit scale and minimum per 16 elements, qs: 64 bytes, d, dmin: f16. Two halves of 128 elements:
/// bits 2j of byte i belong to element 32 j + i.
fn q2_k(b: &[u8; 84], out: &mut [f32; QK_K]) {
    let (scales, qs, d, dmin) = (&b[..16], &b[16..80], scale(&b[80..]), scale(&b[82..]));
    for (g, out) in out.chunks_exact_mut(16).enumerate() {
        let (s, m) = (d * f32::from(scales[g] & 15), dmin * f32::from(scales[g] >> 4));
        let (qs, shift) = (&qs[g / 8 * 32 + g % 2 * 16..][..16], g % 8 / 2 * 2);
        for (o, &q) in out.iter_mut().zip(qs) {
            *o = s * f32::from(q >> shift & 3) - m;
        }
    }
}

/// Returns the 6-bit scale, minus 32, of the g-th 16 elements, from Q3_K's 12 packed bytes: 4 low bits of all, then the
/// high 2.
#[inline(always)]
pub(crate) fn q3_k_scale(s: &[u8], g: usize) -> f32 {
    let low = s[g % 8] >> (g / 8 * 4) & 15;
    let high = s[8 + g % 4] >> (g / 4 * 2) & 3;
    (i32::from(low | high << 4) - 32) as f32
}

/// 32 bytes of third bits, *set* if nothing is subtracted: bit j of byte i belongs to element 32 j + i; qs: 64 bytes as
/// in Q2_K; 12 bytes of scales; d: f16.
fn q3_k(b: &[u8; 110], out: &mut [f32; QK_K]) {
    let (high, qs, scales, d) = (&b[..32], &b[32..96], &b[96..108], scale(&b[108..]));
    for (g, out) in out.chunks_exact_mut(16).enumerate() {
        let s = d * q3_k_scale(scales, g);
        let (qs, shift) = (&qs[g / 8 * 32 + g % 2 * 16..][..16], g % 8 / 2 * 2);
        let high = &high[g % 2 * 16..][..16];
        for ((o, &q), &h) in out.iter_mut().zip(qs).zip(high) {
            let off = if h >> (g / 2) & 1 == 1 { 0 } else { 4 };
            *o = s * (i32::from(q >> shift & 3) - off) as f32;
        }
    }
}

/// d, dmin: f16, 12 bytes of scales and minima, qs: 128 bytes; each 32 bytes hold 32 elements low, then 32 high.
fn q4_k(b: &[u8; 144], out: &mut [f32; QK_K]) {
    let (d, dmin, scales, qs) = (scale(b), scale(&b[2..]), &b[4..16], &b[16..]);
    for j in 0..8 {
        let (s, m) = scale_min(scales, j);
        let (s, m) = (d * s, dmin * m);
        let (qs, shift) = (&qs[j / 2 * 32..][..32], j % 2 * 4);
        for (o, &q) in out[j * 32..][..32].iter_mut().zip(qs) {
            *o = s * f32::from(q >> shift & 15) - m;
        }
    }
}

/// As in Q4_K, with 32 bytes of fifth bits before the quants: bit j of byte i belongs to element i of the j-th 32.
fn q5_k(b: &[u8; 176], out: &mut [f32; QK_K]) {
    let (d, dmin, scales, qh, qs) = (scale(b), scale(&b[2..]), &b[4..16], &b[16..48], &b[48..]);
    for j in 0..8 {
        let (s, m) = scale_min(scales, j);
        let (s, m) = (d * s, dmin * m);
        let (qs, shift) = (&qs[j / 2 * 32..][..32], j % 2 * 4);
        for ((o, &q), &h) in out[j * 32..][..32].iter_mut().zip(qs).zip(qh) {
            *o = s * f32::from((q >> shift & 15) | (h >> j & 1) << 4) - m;
        }
    }
}

/// ql: 128 bytes of low 4 bits, qh: 64 of high 2 bits, 16 signed scales, d: f16. Two halves of 128 elements.
fn q6_k(b: &[u8; 210], out: &mut [f32; QK_K]) {
    let d = scale(&b[208..]);
    for half in 0..2 {
        let (ql, qh) = (&b[half * 64..][..64], &b[128 + half * 32..][..32]);
        for quarter in 0..4 {
            let (ql, low, high) = (&ql[quarter % 2 * 32..][..32], quarter / 2 * 4, quarter * 2);
            let out = &mut out[half * 128 + quarter * 32..][..32];
            for part in 0..2 {
                let s = d * f32::from(b[192 + half * 8 + quarter * 2 + part] as i8);
                for i in part * 16..part * 16 + 16 {
                    let q = (ql[i] >> low & 15) | (qh[i] >> high & 3) << 4;
                    out[i] = s * (i32::from(q) - 32) as f32;
                }
            }
        }
    }
}

/// The values of IQ4_NL's and IQ4_XS's 16 codes, denser around zero.
pub const IQ4_VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// The values of MXFP4's codes (e2m1), doubled to be integers.
pub const MXFP4_VALUES: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// 16 bytes of codes: element i is the low half of byte i, i + 16 the high one.
#[inline(always)]
fn codes(values: &[i8; 16], d: f32, qs: &[u8], out: &mut [f32]) {
    for i in 0..16 {
        out[i] = d * f32::from(values[usize::from(qs[i] & 15)]);
        out[i + 16] = d * f32::from(values[usize::from(qs[i] >> 4)]);
    }
}

/// d: f16, 16 bytes of codes.
fn iq4_nl(b: &[u8; 18], out: &mut [f32; QK]) {
    codes(&IQ4_VALUES, scale(b), &b[2..], out);
}

/// d: f16, eight 6-bit scales (2 bytes of high 2 bits, 4 of low 4), minus 32; 16 bytes of codes per 32 elements.
fn iq4_xs(b: &[u8; 136], out: &mut [f32; QK_K]) {
    let (d, high, low) = (scale(b), u16::from_le_bytes([b[2], b[3]]), &b[4..8]);
    for (j, out) in out.chunks_exact_mut(32).enumerate() {
        let s = i32::from(low[j / 2] >> (j % 2 * 4) & 15) | i32::from(high >> (2 * j) & 3) << 4;
        codes(&IQ4_VALUES, d * (s - 32) as f32, &b[8 + j * 16..][..16], out);
    }
}

/// e: the exponent of a power of two (e8m0), 16 bytes of codes.
fn mxfp4(b: &[u8; 17], out: &mut [f32; QK]) {
    codes(&MXFP4_VALUES, e8m0_half(b[0]), &b[1..], out);
}

/// Returns 2^(e − 128): half of the e8m0 value, because the table's values are doubled.
pub(crate) fn e8m0_half(e: u8) -> f32 {
    let e = u32::from(e);
    f32::from_bits(if e < 2 { 0x0020_0000 << e } else { (e - 1) << 23 })
}
