//! The K types: blocks of 256 elements whose group scales are themselves quantized. See `dequant.rs` for the layouts.

use super::block::{put, stored};
use super::search::{self, Search, ZERO, nearest};
use crate::quant::ggml_type::QK_K;

/// Packs two bits of each of 256 codes: bits 2j of byte i of a half belong to element 32 j + i.
fn two_bits(codes: &[u8; QK_K], out: &mut [u8]) {
    for (codes, out) in codes.chunks_exact(128).zip(out.chunks_exact_mut(32)) {
        for (i, out) in out.iter_mut().enumerate() {
            *out = (0..4).fold(0, |byte, j| byte | (codes[i + 32 * j] & 3) << (2 * j));
        }
    }
}

/// Recomputes the codes for a rounded scale and minimum; codes with a scale of 0 stay unchanged.
fn again<const N: usize>(x: &[f32; N], d: f32, m: f32, max: i32, codes: &mut [u8]) {
    if d != 0.0 {
        for (c, &x) in codes.iter_mut().zip(x) {
            *c = nearest((x + m) / d).clamp(0, max) as u8;
        }
    }
}

/// Recomputes codes around zero: from −n to n − 1, stored with n added.
fn again_symmetric(x: &[f32; 16], d: f32, n: i32, codes: &mut [u8]) {
    if d != 0.0 {
        for (c, &x) in codes.iter_mut().zip(x) {
            *c = (nearest(x / d).clamp(-n, n - 1) + n) as u8;
        }
    }
}

fn largest(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |a, &b| if b > a { b } else { a })
}

pub(super) fn q2_k(x: &[f32; QK_K], b: &mut [u8; 84]) {
    let search = Search { max: 3, first: -0.5, steps: 15, absolute: true };
    let (mut codes, mut scales, mut mins) = ([0; QK_K], [0.0; 16], [0.0; 16]);
    let groups = x.as_chunks::<16>().0;
    for (g, x) in groups.iter().enumerate() {
        let weights = x.map(f32::abs);
        (scales[g], mins[g]) = search::with_minimum(x, &weights, &search, &mut codes[g * 16..][..16]);
    }
    let (max_scale, max_min) = (largest(&scales), largest(&mins));
    let fraction = |x: f32, max: f32| if max > 0.0 { nearest(15.0 / max * x) as u8 } else { 0 };
    for g in 0..16 {
        b[g] = fraction(scales[g], max_scale) | fraction(mins[g], max_min) << 4;
    }
    put(&mut b[80..], max_scale / 15.0);
    put(&mut b[82..], max_min / 15.0);
    for (g, x) in groups.iter().enumerate() {
        let (d, m) = (stored(&b[80..]) * f32::from(b[g] & 15), stored(&b[82..]) * f32::from(b[g] >> 4));
        again(x, d, m, 3, &mut codes[g * 16..][..16]);
    }
    two_bits(&codes, &mut b[16..80]);
}

pub(super) fn q3_k(x: &[f32; QK_K], b: &mut [u8; 110]) {
    let (mut codes, mut scales) = ([0; QK_K], [0.0; 16]);
    let groups = x.as_chunks::<16>().0;
    for (g, x) in groups.iter().enumerate() {
        scales[g] = search::three_bits(x, &mut codes[g * 16..][..16]);
    }
    b.fill(0);
    let max_scale = super::extreme(&scales);
    let mut rounded = [0; 16];
    if max_scale != 0.0 {
        let iscale = -32.0 / max_scale;
        for g in 0..16 {
            rounded[g] = nearest(iscale * scales[g]).clamp(-32, 31);
            let stored = (rounded[g] + 32) as u8;
            b[96 + g % 8] |= (stored & 15) << (g / 8 * 4);
            b[96 + 8 + g % 4] |= (stored >> 4) << (g / 4 * 2);
        }
        put(&mut b[108..], 1.0 / iscale);
    } else {
        // Scale bits of 0 mean −32, which is harmless because d = 0.
        rounded.fill(-32);
    }
    for (g, x) in groups.iter().enumerate() {
        again_symmetric(x, stored(&b[108..]) * rounded[g] as f32, 4, &mut codes[g * 16..][..16]);
    }
    for (i, code) in codes.iter().enumerate() {
        b[i % 32] |= (code >> 2 & 1) << (i / 32);
    }
    two_bits(&codes, &mut b[32..96]);
}

/// Returns the codes, up to `search.max`, of eight groups of 32. Writes d, dmin and the 12 packed bytes of 6-bit scales
/// and minima to `head`.
fn scales_and_minima(x: &[f32; QK_K], search: &Search, head: &mut [u8]) -> [u8; QK_K] {
    let (mut codes, mut scales, mut mins) = ([0; QK_K], [0.0; 8], [0.0; 8]);
    let groups = x.as_chunks::<32>().0;
    for (j, x) in groups.iter().enumerate() {
        let mean = (x.iter().fold(0.0, |sum, x| sum + x * x) / 32.0).sqrt();
        let weights = x.map(|x| mean + x.abs());
        (scales[j], mins[j]) = search::with_minimum(x, &weights, search, &mut codes[j * 32..][..32]);
    }
    let (max_scale, max_min) = (largest(&scales), largest(&mins));
    let inverse = |max: f32| if max > 0.0 { 63.0 / max } else { 0.0 };
    let (inv_scale, inv_min) = (inverse(max_scale), inverse(max_min));
    put(head, max_scale / 63.0);
    put(&mut head[2..], max_min / 63.0);
    let (d, dmin) = (stored(head), stored(&head[2..]));
    let packed = &mut head[4..16];
    packed.fill(0);
    for (j, x) in groups.iter().enumerate() {
        let s = (nearest(inv_scale * scales[j]) as u8).min(63);
        let m = (nearest(inv_min * mins[j]) as u8).min(63);
        if j < 4 {
            packed[j] |= s;
            packed[j + 4] |= m;
        } else {
            packed[j + 4] |= s & 15 | (m & 15) << 4;
            packed[j - 4] |= s >> 4 << 6;
            packed[j] |= m >> 4 << 6;
        }
        again(x, d * f32::from(s), dmin * f32::from(m), i32::from(search.max), &mut codes[j * 32..][..32]);
    }
    codes
}

/// Packs the low four bits of 256 codes: each 32 bytes hold 32 elements low, then 32 high.
fn low_nibbles(codes: &[u8; QK_K], out: &mut [u8]) {
    for (codes, out) in codes.chunks_exact(64).zip(out.chunks_exact_mut(32)) {
        for (i, out) in out.iter_mut().enumerate() {
            *out = codes[i] & 15 | codes[i + 32] << 4;
        }
    }
}

pub(super) fn q4_k(x: &[f32; QK_K], b: &mut [u8; 144]) {
    let search = Search { max: 15, first: -1.0, steps: 20, absolute: false };
    let (head, quants) = b.split_at_mut(16);
    low_nibbles(&scales_and_minima(x, &search, head), quants);
}

pub(super) fn q5_k(x: &[f32; QK_K], b: &mut [u8; 176]) {
    let search = Search { max: 31, first: -0.5, steps: 15, absolute: false };
    let (head, quants) = b.split_at_mut(16);
    let codes = scales_and_minima(x, &search, head);
    let (high, low) = quants.split_at_mut(32);
    for (i, high) in high.iter_mut().enumerate() {
        *high = (0..8).fold(0, |byte, j| byte | (codes[i + 32 * j] >> 4) << j);
    }
    low_nibbles(&codes, low);
}

pub(super) fn q6_k(x: &[f32; QK_K], b: &mut [u8; 210]) {
    let (mut codes, mut scales) = ([0; QK_K], [0.0; 16]);
    let groups = x.as_chunks::<16>().0;
    for (g, x) in groups.iter().enumerate() {
        scales[g] = search::symmetric(x, 32, &mut codes[g * 16..][..16]);
    }
    b.fill(0);
    let max_scale = super::extreme(&scales);
    if max_scale.abs() < ZERO {
        return;
    }
    let iscale = -128.0 / max_scale;
    put(&mut b[208..], 1.0 / iscale);
    for (g, x) in groups.iter().enumerate() {
        let s = nearest(iscale * scales[g]).min(127) as i8;
        b[192 + g] = s as u8;
        again_symmetric(x, stored(&b[208..]) * f32::from(s), 32, &mut codes[g * 16..][..16]);
    }
    for (half, codes) in codes.chunks_exact(128).enumerate() {
        for i in 0..32 {
            let code = |quarter: usize| codes[i + 32 * quarter];
            b[half * 64 + i] = code(0) & 15 | code(2) << 4;
            b[half * 64 + 32 + i] = code(1) & 15 | code(3) << 4;
            b[128 + half * 32 + i] = (0..4).fold(0, |byte, q| byte | (code(q) >> 4) << (2 * q));
        }
    }
}
