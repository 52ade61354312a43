//! Dequantisation of ggml's block types, equal bit for bit to ggml's reference (ggml/src/ggml-quants.c,
//! `dequantize_row_*`, without contraction into fused multiply-adds) and to the Python package `gguf`.
//!
//! A block holds a fixed number of consecutive elements of a row: a scale (f16), for some types a minimum, for the
//! K types one 6-bit scale per 32 or 8-bit scale per 16 elements, and the packed quants.

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

/// Elements in a block of the K types.
const QK_K: usize = 256;
/// Elements in a block of the older types.
const QK: usize = 32;
/// Elements that one task dequantises at least: a multiple of every block size.
const TASK: usize = 1 << 16;

/// How a tensor is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types)]
pub enum GgmlType {
    /// 32-bit float.
    F32,
    /// 16-bit float.
    F16,
    /// bfloat16.
    Bf16,
    /// 4 bits, scale per 32.
    Q4_0,
    /// 5 bits, scale per 32.
    Q5_0,
    /// 8 bits, scale per 32.
    Q8_0,
    /// 4 bits, scale and minimum per 32 within 256.
    Q4_K,
    /// 5 bits, scale and minimum per 32 within 256.
    Q5_K,
    /// 6 bits, scale per 16 within 256.
    Q6_K,
}

impl GgmlType {
    /// All that are read.
    pub const ALL: [GgmlType; 9] = [
        GgmlType::F32,
        GgmlType::F16,
        GgmlType::Bf16,
        GgmlType::Q4_0,
        GgmlType::Q5_0,
        GgmlType::Q8_0,
        GgmlType::Q4_K,
        GgmlType::Q5_K,
        GgmlType::Q6_K,
    ];

    /// By ggml's number (`enum ggml_type`).
    pub fn new(code: u32) -> Option<GgmlType> {
        Some(match code {
            0 => GgmlType::F32,
            1 => GgmlType::F16,
            2 => GgmlType::Q4_0,
            6 => GgmlType::Q5_0,
            8 => GgmlType::Q8_0,
            12 => GgmlType::Q4_K,
            13 => GgmlType::Q5_K,
            14 => GgmlType::Q6_K,
            30 => GgmlType::Bf16,
            _ => return None,
        })
    }

    /// ggml's name.
    pub fn name(self) -> &'static str {
        match self {
            GgmlType::F32 => "F32",
            GgmlType::F16 => "F16",
            GgmlType::Bf16 => "BF16",
            GgmlType::Q4_0 => "Q4_0",
            GgmlType::Q5_0 => "Q5_0",
            GgmlType::Q8_0 => "Q8_0",
            GgmlType::Q4_K => "Q4_K",
            GgmlType::Q5_K => "Q5_K",
            GgmlType::Q6_K => "Q6_K",
        }
    }

    /// Elements in a block.
    pub fn block_elements(self) -> usize {
        match self {
            GgmlType::F32 | GgmlType::F16 | GgmlType::Bf16 => 1,
            GgmlType::Q4_0 | GgmlType::Q5_0 | GgmlType::Q8_0 => QK,
            GgmlType::Q4_K | GgmlType::Q5_K | GgmlType::Q6_K => QK_K,
        }
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        match self {
            GgmlType::F32 => 4,
            GgmlType::F16 | GgmlType::Bf16 => 2,
            GgmlType::Q4_0 => 2 + QK / 2,
            GgmlType::Q5_0 => 2 + 4 + QK / 2,
            GgmlType::Q8_0 => 2 + QK,
            GgmlType::Q4_K => 2 + 2 + 12 + QK_K / 2,
            GgmlType::Q5_K => 2 + 2 + 12 + QK_K / 8 + QK_K / 2,
            GgmlType::Q6_K => QK_K / 2 + QK_K / 4 + QK_K / 16 + 2,
        }
    }
}

/// Dequantises whole blocks into `out`. Both lengths agree: the header was checked.
pub fn dequantise(dtype: GgmlType, data: &[u8], out: &mut [f32]) {
    let bytes_per_task = TASK / dtype.block_elements() * dtype.block_bytes();
    out.par_chunks_mut(TASK).zip(data.par_chunks(bytes_per_task)).for_each(|(out, data)| run(dtype, data, out));
}

/// The same on one thread.
fn run(dtype: GgmlType, data: &[u8], out: &mut [f32]) {
    match dtype {
        GgmlType::F32 => blocks::<4, 1>(data, out, |b, o| o[0] = f32::from_le_bytes(*b)),
        GgmlType::Bf16 => {
            blocks::<2, 1>(data, out, |b, o| o[0] = f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16))
        }
        GgmlType::F16 => f16s(data, out),
        GgmlType::Q4_0 => blocks(data, out, q4_0),
        GgmlType::Q5_0 => blocks(data, out, q5_0),
        GgmlType::Q8_0 => blocks(data, out, q8_0),
        GgmlType::Q4_K => blocks(data, out, q4_k),
        GgmlType::Q5_K => blocks(data, out, q5_k),
        GgmlType::Q6_K => blocks(data, out, q6_k),
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

/// d: f16, qs: 32 signed bytes.
fn q8_0(b: &[u8; 34], out: &mut [f32; QK]) {
    let d = scale(b);
    for i in 0..QK {
        out[i] = d * f32::from(b[2 + i] as i8);
    }
}

/// The 6-bit scale and minimum of the j-th 32 elements, from the K types' 12 packed bytes.
#[inline(always)]
fn scale_min(s: &[u8], j: usize) -> (f32, f32) {
    let (scale, min) = if j < 4 {
        (s[j] & 63, s[j + 4] & 63)
    } else {
        ((s[j + 4] & 15) | (s[j - 4] >> 6 << 4), (s[j + 4] >> 4) | (s[j] >> 6 << 4))
    };
    (f32::from(scale), f32::from(min))
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

/// As Q4_K, with 32 bytes of fifth bits before the quants: bit j of byte i belongs to element i of the j-th 32.
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
