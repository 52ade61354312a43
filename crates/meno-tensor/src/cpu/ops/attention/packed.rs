//! Keys and values that the cache stores in fewer bits ([`KvType`]): written one token at a time, read as f32.
//!
//! A head's keys and values are converted to f32 once per pass, in the thread's memory; attention then treats them like
//! any others. New keys and values are written and read back before use. So a token's result does not depend on how the
//! prompt was chunked; it differs from training only by the rounding.

use super::forward::{Keys, WHOLE};
use super::kernel::{grow, unpack_keys, unpack_values};
use super::{Attention, Cache, Heads};
use crate::cpu::kv_store::{KEY_BLOCK, words};
use crate::cpu::simd::vector::Vector;
use crate::kv_cache::{KvType, Q8_GROUP};
use crate::tape::{PAGE, Segment};
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
unsafe fn pack(kind: KvType, x: &[f32], to: *mut f32, (codes, first, first_scale, step): (usize, usize, usize, usize)) {
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

impl Attention {
    /// Like [`Attention::append`] for a cache that does not hold f32: returns the cached keys and values as f32 in
    /// `scratch`.
    ///
    /// # Safety
    /// As [`Attention::append`].
    pub(super) unsafe fn append_packed<'a>(
        &self,
        segment: &Segment,
        head: usize,
        (k, v): (Heads, Heads),
        cache: Cache<'a>,
        (keys, values): (&mut Vec<f32>, &mut Vec<f32>),
    ) -> Keys<'a> {
        let (qk, vd, kind) = (self.qk_dim, self.v_dim, cache.kv_type);
        let table = cache.table.table(segment.slot.expect("invariant: a generated sequence has a slot in the cache"));
        let (block, key_page, value_page) = (words(kind, KEY_BLOCK, qk), words(kind, PAGE, qk), words(kind, PAGE, vd));
        let place = |page: u32| {
            let part = page as usize * self.kv_heads + head;
            (cache.keys.at(part * key_page), cache.values.at(part * value_page))
        };
        let n = segment.past + segment.rows.len();
        let keys = grow(keys, n.next_multiple_of(KEY_BLOCK) * qk).as_mut_ptr();
        let values = grow(values, n * vd).as_mut_ptr();
        // SAFETY: the pages belong to the cache (checked for the whole batch), and only this task writes this head of
        // them; the caller guarantees the views; the scratch has room for all tokens in whole blocks.
        unsafe {
            for (i, row) in segment.rows.clone().enumerate() {
                let (at, (key, value)) = ((segment.past + i) % PAGE, place(table[(segment.past + i) / PAGE]));
                let (lane, groups) = (at % KEY_BLOCK, vd.div_ceil(Q8_GROUP));
                let x = std::slice::from_raw_parts(k.at(row, head).cast_const(), qk);
                pack(kind, x, key.add(at / KEY_BLOCK * block), (KEY_BLOCK * qk, lane, lane, KEY_BLOCK));
                let x = std::slice::from_raw_parts(v.at(row, head).cast_const(), vd);
                pack(kind, x, value, (PAGE * vd, at * vd, at * groups, 1));
            }
            for (i, &page) in table.iter().take(n.div_ceil(PAGE)).enumerate() {
                let ((key, value), first) = (place(page), i * PAGE);
                for b in 0..(n - first).min(PAGE).div_ceil(KEY_BLOCK) {
                    unpack_keys(kind, key.add(b * block), qk, keys.add((first + b * KEY_BLOCK) * qk));
                }
                unpack_values(kind, value, ((n - first).min(PAGE), vd), values.add(first * vd));
            }
        }
        Keys { blocks: keys, values, value_ld: vd, table: WHOLE, page: n, page_strides: (0, 0) }
    }
}
