//! IQ4_NL and IQ4_XS: codes of 16 unevenly spaced values.

use super::block::{extreme, inverse, nibbles, put};
use super::search::{ZERO, nearest};
use crate::quant::dequant::IQ4_VALUES;
use crate::quant::ggml_type::{QK, QK_K};

/// Number of scales tried on each side of the first guess.
const TRIES: i32 = 7;

/// Returns the code of the value nearest to `x`.
fn code(x: f32) -> u8 {
    let value = |i: usize| f32::from(IQ4_VALUES[i]);
    if x <= value(0) {
        return 0;
    }
    let above = (1..16).find(|&i| x < value(i)).unwrap_or(15);
    let below = above - 1;
    if x >= value(15) || x - value(below) >= value(above) - x { above as u8 } else { below as u8 }
}

/// Returns the scale with the smallest squared error, weighted by the squared values.
fn scale(x: &[f32; QK]) -> f32 {
    let largest = extreme(x);
    if largest.abs() < ZERO {
        return 0.0;
    }
    let first = f32::from(IQ4_VALUES[0]);
    let sums = |id: f32| {
        x.iter().fold((0.0f32, 0.0f32), |(qx, q2), &x| {
            let (w, q) = (x * x, f32::from(IQ4_VALUES[usize::from(code(id * x))]));
            (qx + w * q * x, q2 + w * q * q)
        })
    };
    let (qx, q2) = sums(1.0 / (-largest / first));
    let mut d = if q2 > 0.0 { qx / q2 } else { 0.0 };
    let mut best = d * qx;
    for step in -TRIES..=TRIES {
        let (qx, q2) = sums((step as f32 + first) / largest);
        if q2 > 0.0 && qx * qx > best * q2 {
            d = qx / q2;
            best = d * qx;
        }
    }
    d
}

pub(super) fn nl(x: &[f32; QK], b: &mut [u8; 18]) {
    let d = scale(x);
    let id = inverse(d);
    put(b, d);
    nibbles(&x.map(|x| code(id * x)), &mut b[2..]);
}

pub(super) fn xs(x: &[f32; QK_K], b: &mut [u8; 136]) {
    let groups = x.as_chunks::<QK>().0;
    let mut scales = [0.0; 8];
    for (s, x) in scales.iter_mut().zip(groups) {
        *s = scale(x);
    }
    let d = -extreme(&scales) / 32.0;
    let id = inverse(d);
    b.fill(0);
    put(b, d);
    let mut high = 0u16;
    for (j, x) in groups.iter().enumerate() {
        let l = nearest(id * scales[j]).clamp(-32, 31);
        let idl = inverse(d * l as f32);
        nibbles(&x.map(|x| code(idl * x)), &mut b[8 + 16 * j..][..16]);
        let stored = (l + 32) as u8;
        b[4 + j / 2] |= (stored & 15) << (j % 2 * 4);
        high |= u16::from(stored >> 4) << (2 * j);
    }
    b[2..4].copy_from_slice(&high.to_le_bytes());
}
