//! Attention over a cache that does not hold f32.
//!
//! A head's keys and values are converted to f32 once per pass, in the thread's memory; attention then treats them like
//! any others. New keys and values are written and read back before use. So a token's result does not depend on how the
//! prompt was chunked; it differs from training only by the rounding.

use super::forward::{KeyRuns, WHOLE};
use super::kernel::{unpack_keys, unpack_values};
use super::memory::{Cache, Heads};
use super::packed::pack;
use super::scratch::grow;
use crate::cpu::kv_store::{KEY_BLOCK, words};
use crate::kv_cache::Q8_GROUP;
use crate::ops::attention::Attention;
use crate::tape::{PAGE, Segment};

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
    ) -> KeyRuns<'a> {
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
        KeyRuns { blocks: keys, values, value_ld: vd, table: WHOLE, page: n, page_strides: (0, 0) }
    }
}
