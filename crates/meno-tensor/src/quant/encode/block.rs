//! The parts of a block: its extremes, its scales, its codes.

use crate::quant::ggml_type::QK;
use half::f16;

/// Rounds `d` to f16 and stores it.
pub(super) fn put(b: &mut [u8], d: f32) {
    b[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
}

/// Returns the value stored by [`put`].
pub(super) fn stored(b: &[u8]) -> f32 {
    f16::from_le_bytes([b[0], b[1]]).to_f32()
}

/// Returns 1 / d, or 0 for d = 0.
pub(super) fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

/// Returns the value of largest magnitude; the first one among equals.
pub(super) fn extreme(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |max: f32, &v| if v.abs() > max.abs() { v } else { max })
}

/// Returns the smallest and the largest value.
pub(super) fn bounds(x: &[f32]) -> (f32, f32) {
    x.iter().fold((f32::MAX, f32::MIN), |(min, max), &v| (if v < min { v } else { min }, if v > max { v } else { max }))
}

/// Packs 4-bit codes: element i in the low half of byte i, i + 16 in the high half.
pub(super) fn nibbles(codes: &[u8; QK], out: &mut [u8]) {
    for i in 0..16 {
        out[i] = codes[i] & 15 | codes[i + 16] << 4;
    }
}

/// Returns the fifth bits of 32 codes.
pub(super) fn fifth_bits(codes: &[u8; QK]) -> [u8; 4] {
    codes.iter().enumerate().fold(0u32, |bits, (i, &c)| bits | u32::from(c >> 4 & 1) << i).to_le_bytes()
}
