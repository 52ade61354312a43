//! Keys and values that the cache stores in fewer bits ([`KvType`]): written one token at a time, read as f32.
//!
//! [`super::packed_cache`] uses these conversions.

use crate::cpu::kv_store::KEY_BLOCK;
use crate::cpu::simd::vector::Vector;
use crate::kv_cache::{KvType, Q8_GROUP};
use crate::tape::PAGE;
use half::{bf16, f16};

/// The scale of one group of numbers.
fn q8_scale(x: impl Iterator<Item = f32>) -> f16 {
    f16::from_f32(x.fold(0.0, |max: f32, x| max.max(x.abs())) / 127.0)
}

fn q8_code(x: f32, scale: f16) -> i8 {
    let scale = scale.to_f32();
    if scale == 0.0 { 0 } else { (x / scale).round_ties_even().clamp(-127.0, 127.0) as i8 }
}

/// Writes `x` to `to`: number d at `first + d · step`, the scale of group g (after all `codes`) at
/// `first_scale + g · step`.
///
/// # Safety
/// `to` is valid for a piece of this type and for these places in it.
pub(super) unsafe fn pack(
    kind: KvType,
    x: &[f32],
    to: *mut f32,
    (codes, first, first_scale, step): (usize, usize, usize, usize),
) {
    // SAFETY: as promised by the caller.
    unsafe {
        match kind {
            KvType::F32 => x.iter().enumerate().for_each(|(d, &x)| *to.add(first + d * step) = x),
            KvType::Bf16 => {
                let to = to.cast::<bf16>();
                x.iter().enumerate().for_each(|(d, &x)| *to.add(first + d * step) = bf16::from_f32(x));
            }
            KvType::Q8_0 => {
                let (q, scales) = (to.cast::<i8>(), to.cast::<i8>().add(codes).cast::<f16>());
                for (g, group) in x.chunks(Q8_GROUP).enumerate() {
                    let scale = q8_scale(group.iter().copied());
                    *scales.add(first_scale + g * step) = scale;
                    for (d, &x) in group.iter().enumerate() {
                        *q.add(first + (g * Q8_GROUP + d) * step) = q8_code(x, scale);
                    }
                }
            }
        }
    }
}

/// Converts one block of keys `[dim][16]` to f32.
///
/// # Safety
/// `block` is a whole block of this type; `out` has room for it.
#[inline(always)]
pub(super) unsafe fn keys<V: Vector>(kind: KvType, block: *const f32, dim: usize, out: *mut f32) {
    let _ = V::WIDE; // V only selects the level for which this is compiled
    // SAFETY: as promised by the caller.
    unsafe {
        match kind {
            KvType::F32 => std::ptr::copy_nonoverlapping(block, out, dim * KEY_BLOCK),
            KvType::Bf16 => widen(block, dim * KEY_BLOCK, out),
            KvType::Q8_0 => {
                let codes = block.cast::<i8>();
                let scales = codes.add(dim * KEY_BLOCK).cast::<f16>();
                let mut scale = [0f32; KEY_BLOCK];
                for d in 0..dim {
                    if d % Q8_GROUP == 0 {
                        let group = scales.add(d / Q8_GROUP * KEY_BLOCK);
                        scale = std::array::from_fn(|lane| (*group.add(lane)).to_f32());
                    }
                    for (lane, scale) in scale.iter().enumerate() {
                        let at = d * KEY_BLOCK + lane;
                        *out.add(at) = *codes.add(at) as f32 * scale;
                    }
                }
            }
        }
    }
}

/// Converts the first `count` values of a page, `[count][dim]`, to f32.
///
/// # Safety
/// `page` is a head's page of values of this type; `out` has room for them.
#[inline(always)]
pub(super) unsafe fn values<V: Vector>(kind: KvType, page: *const f32, (count, dim): (usize, usize), out: *mut f32) {
    let _ = V::WIDE; // as above
    // SAFETY: as promised by the caller.
    unsafe {
        match kind {
            KvType::F32 => std::ptr::copy_nonoverlapping(page, out, count * dim),
            KvType::Bf16 => widen(page, count * dim, out),
            KvType::Q8_0 => {
                let (codes, groups) = (page.cast::<i8>(), dim.div_ceil(Q8_GROUP));
                let scales = codes.add(PAGE * dim).cast::<f16>();
                for row in 0..count {
                    for g in 0..groups {
                        let scale = (*scales.add(row * groups + g)).to_f32();
                        for d in g * Q8_GROUP..dim.min((g + 1) * Q8_GROUP) {
                            *out.add(row * dim + d) = *codes.add(row * dim + d) as f32 * scale;
                        }
                    }
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn widen(from: *const f32, n: usize, out: *mut f32) {
    let from = from.cast::<u16>();
    for i in 0..n {
        // SAFETY: as the caller promises.
        unsafe { *out.add(i) = f32::from_bits((*from.add(i) as u32) << 16) };
    }
}
