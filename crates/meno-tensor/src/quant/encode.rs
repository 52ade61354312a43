//! Quantization to ggml's block types with ggml's reference algorithms (ggml/src/ggml-quants.c, `quantize_row_*_ref`
//! and, for IQ4, `quantize_iq4_*`, all without an importance matrix). The bytes are identical to ggml's.
//!
//! The simple types take the scale from the extremes of a block. The K types and IQ4 search for the scale (and minimum)
//! with the smallest weighted error (`search.rs`).

mod block;
mod iq4;
mod k;
mod search;

use super::GgmlType;
use super::dequant::{MXFP4_VALUES, e8m0_half};
use super::ggml_type::QK;
use block::{bounds, extreme, fifth_bits, inverse, nibbles, put};
use half::{bf16, f16};
use rayon::prelude::*;

/// Minimum elements that one task quantizes: a multiple of every block size.
const TASK: usize = 1 << 13;

/// Returns the size in bytes of `elements` elements, a multiple of the block size.
pub fn bytes(dtype: GgmlType, elements: usize) -> usize {
    elements / dtype.block_elements() * dtype.block_bytes()
}

/// Quantizes whole blocks into `out`, whose length is [`bytes`] of the values. NaN values give an unspecified block.
///
/// # Panics
/// Panics if the lengths do not agree.
pub fn quantize(dtype: GgmlType, values: &[f32], out: &mut [u8]) {
    assert!(values.len().is_multiple_of(dtype.block_elements()), "invariant: whole blocks");
    assert_eq!(out.len(), bytes(dtype, values.len()), "invariant: the bytes of the values");
    out.par_chunks_mut(bytes(dtype, TASK)).zip(values.par_chunks(TASK)).for_each(|(out, x)| run(dtype, x, out));
}

/// Quantizes on one thread.
fn run(dtype: GgmlType, values: &[f32], out: &mut [u8]) {
    match dtype {
        GgmlType::F32 => blocks::<1, 4>(values, out, |x, b| *b = x[0].to_le_bytes()),
        GgmlType::F16 => blocks::<1, 2>(values, out, |x, b| *b = f16::from_f32(x[0]).to_le_bytes()),
        GgmlType::Bf16 => blocks::<1, 2>(values, out, |x, b| *b = bf16::from_f32(x[0]).to_le_bytes()),
        GgmlType::Q4_0 => blocks(values, out, q4_0),
        GgmlType::Q4_1 => blocks(values, out, q4_1),
        GgmlType::Q5_0 => blocks(values, out, q5_0),
        GgmlType::Q5_1 => blocks(values, out, q5_1),
        GgmlType::Q8_0 => blocks(values, out, q8_0),
        GgmlType::Q2_K => blocks(values, out, k::q2_k),
        GgmlType::Q3_K => blocks(values, out, k::q3_k),
        GgmlType::Q4_K => blocks(values, out, k::q4_k),
        GgmlType::Q5_K => blocks(values, out, k::q5_k),
        GgmlType::Q6_K => blocks(values, out, k::q6_k),
        GgmlType::Iq4_NL => blocks(values, out, iq4::nl),
        GgmlType::Iq4_XS => blocks(values, out, iq4::xs),
        GgmlType::Mxfp4 => blocks(values, out, mxfp4),
    }
}

/// Applies `f` to every block of E elements and B bytes.
fn blocks<const E: usize, const B: usize>(values: &[f32], out: &mut [u8], f: impl Fn(&[f32; E], &mut [u8; B])) {
    for (x, b) in values.as_chunks::<E>().0.iter().zip(out.as_chunks_mut::<B>().0) {
        f(x, b);
    }
}

fn q4_0(x: &[f32; QK], b: &mut [u8; 18]) {
    let d = extreme(x) / -8.0;
    let id = inverse(d);
    put(b, d);
    nibbles(&x.map(|x| ((x * id + 8.5) as i8).min(15) as u8), &mut b[2..]);
}

fn q4_1(x: &[f32; QK], b: &mut [u8; 20]) {
    let (min, max) = bounds(x);
    let d = (max - min) / 15.0;
    let id = inverse(d);
    put(b, d);
    put(&mut b[2..], min);
    nibbles(&x.map(|x| (((x - min) * id + 0.5) as i8).min(15) as u8), &mut b[4..]);
}

fn q5_0(x: &[f32; QK], b: &mut [u8; 22]) {
    let d = extreme(x) / -16.0;
    let id = inverse(d);
    put(b, d);
    let codes = x.map(|x| ((x * id + 16.5) as i8).min(31) as u8);
    b[2..6].copy_from_slice(&fifth_bits(&codes));
    nibbles(&codes, &mut b[6..]);
}

fn q5_1(x: &[f32; QK], b: &mut [u8; 24]) {
    let (min, max) = bounds(x);
    let d = (max - min) / 31.0;
    let id = inverse(d);
    put(b, d);
    put(&mut b[2..], min);
    let codes = x.map(|x| (((x - min) * id + 0.5) as u8).min(31));
    b[4..8].copy_from_slice(&fifth_bits(&codes));
    nibbles(&codes, &mut b[8..]);
}

fn q8_0(x: &[f32; QK], b: &mut [u8; 34]) {
    let d = extreme(x).abs() / 127.0;
    let id = inverse(d);
    put(b, d);
    for (b, x) in b[2..].iter_mut().zip(x) {
        // Ties round away from zero.
        *b = (x * id).round() as i8 as u8;
    }
}

/// Chooses the power of two that maps the largest value to the code of 4 or 6; codes have the smallest error.
fn mxfp4(x: &[f32; QK], b: &mut [u8; 17]) {
    let largest = extreme(x).abs();
    b[0] = if largest > 0.0 { (largest.log2().floor() + 125.0) as u8 } else { 0 };
    let d = e8m0_half(b[0]);
    let code = |x: f32| {
        let error = |i: usize| (f32::from(MXFP4_VALUES[i]) * d - x).abs();
        (1..16).fold(0, |best, i| if error(i) < error(best) { i } else { best }) as u8
    };
    nibbles(&x.map(code), &mut b[1..]);
}
