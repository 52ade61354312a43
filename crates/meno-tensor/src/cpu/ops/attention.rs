//! Causal attention with vector tiles.
//!
//! No T×T matrix is stored: a few queries at a time are multiplied with all their keys, and the backward pass
//! recomputes the probabilities from the saved log-sum-exp.
//!
//! Contract: a score is a chain of fused multiply-adds over the head's columns; the sum of exponentials runs over keys
//! in 16 lanes fixed by the key's position; o is a chain over keys from position 0. So a query's output has the same
//! bits in a training pass, in any chunk of a prompt, and decoded from the cache. All arithmetic is f32.

// The tiles index several arrays by the same row, which an iterator would hide.
#[allow(clippy::needless_range_loop)]
mod backward;
#[allow(clippy::needless_range_loop)]
mod forward;
mod kernel;
mod memory;
mod packed;
mod packed_cache;
mod scratch;
#[allow(clippy::needless_range_loop)]
mod tile;

use super::Kernels;
use crate::backend::KvStore;
use crate::cpu::context::{self, Ctx};
use crate::cpu::kv_store::KEY_BLOCK;
use crate::kv_cache::KvType;
use crate::ops::attention::Attention;
use crate::pool;
use crate::tape::{Activation, PAGE, Segment};
use backward::Head;
use forward::{KeyRuns, Queries, WHOLE};
use memory::{Cache, Heads, SharedPtr};
use scratch::{Scratch, grow};

/// Heads of one token that are decoded together.
const DECODED: usize = 4;

impl Attention {
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// The queries of one segment and key head.
    fn queries(&self, segment: &Segment, head: usize, q: Heads, out: SharedPtr, lse: SharedPtr) -> Queries {
        let (row, first) = (segment.rows.start, head * self.group());
        Queries {
            q: (q.at(row, first), q.ld, q.view.head_stride),
            out: (out.at((row * self.heads + first) * self.v_dim), self.heads * self.v_dim, self.v_dim),
            lse: (lse.at(row * self.heads + first), self.heads),
            rows: segment.rows.len(),
            group: self.group(),
            past: segment.past,
            qk_dim: self.qk_dim,
            v_dim: self.v_dim,
            scale: self.scale,
        }
    }

    /// Writes the new keys and values of a segment and head to the cache; returns the location of all keys and values.
    ///
    /// # Safety
    /// Views and cache are valid for the segment, and no other task touches this head of the pages it writes.
    unsafe fn append<'a>(&self, segment: &Segment, head: usize, k: Heads, v: Heads, cache: Cache<'a>) -> KeyRuns<'a> {
        let (qk, vd) = (self.qk_dim, self.v_dim);
        let slot = segment.slot.expect("invariant: a generated sequence has a slot in the cache");
        let table = cache.table.table(slot);
        let page_strides = (self.kv_heads * PAGE * qk, self.kv_heads * PAGE * vd);
        let (keys, values) = (cache.keys.at(head * PAGE * qk), cache.values.at(head * PAGE * vd));
        for (i, row) in segment.rows.clone().enumerate() {
            let (page, at) = (table[(segment.past + i) / PAGE] as usize, (segment.past + i) % PAGE);
            let block = page * page_strides.0 + at / KEY_BLOCK * KEY_BLOCK * qk + at % KEY_BLOCK;
            // SAFETY: the page is one of the cache's (checked for the whole batch), the rest as promised by the caller.
            unsafe {
                let x = k.at(row, head);
                for d in 0..qk {
                    *keys.add(block + d * KEY_BLOCK) = *x.add(d);
                }
                std::ptr::copy_nonoverlapping(v.at(row, head), values.add(page * page_strides.1 + at * vd), vd);
            }
        }
        KeyRuns { blocks: keys, values, value_ld: vd, table, page: PAGE, page_strides }
    }

    /// The cache of this op's layer, if there is one; asserts that it is large enough for the batch.
    fn cache<'a>(&self, cache: Option<&'a mut context::Cache>, segments: &[Segment]) -> Option<Cache<'a>> {
        let context::Cache { table, store } = cache?;
        for s in segments {
            let slot = s.slot.expect("invariant: a generated sequence has a slot in the cache");
            let (end, pages) = (s.past + s.rows.len(), table.table(slot).len());
            assert!(end <= pages * PAGE, "invariant: {end} tokens fit {pages} pages");
        }
        let (pages, kv_type) = (store.pages(), store.kv_type());
        assert!(table.pages() <= pages, "invariant: the store has every page of the table");
        let spec = store.layers()[self.layer];
        let same = (spec.kv_heads, spec.qk_dim, spec.v_dim) == (self.kv_heads, self.qk_dim, self.v_dim);
        assert!(same, "invariant: the cache has {spec:?}");
        let layer = &mut store.layers[self.layer];
        assert!(layer.keys.len() >= pages * layer.key_page() && layer.values.len() >= pages * layer.value_page());
        let (keys, values) = (SharedPtr(layer.keys.as_mut_ptr()), SharedPtr(layer.values.as_mut_ptr()));
        Some(Cache { keys, values, kv_type, table })
    }

    /// q, k and v in `get`'s memory; asserts that they are wide enough.
    fn heads<'a>(&self, rows: usize, mut get: impl FnMut(Activation) -> &'a mut [f32]) -> [Heads; 3] {
        let sizes = [(self.heads, self.qk_dim), (self.kv_heads, self.qk_dim), (self.kv_heads, self.v_dim)];
        let views = [self.q, self.k, self.v];
        std::array::from_fn(|i| {
            let heads = Heads::new(get(views[i].act), rows, views[i]);
            let end = views[i].offset + (sizes[i].0 - 1) * views[i].head_stride + sizes[i].1;
            assert!(rows == 0 || end <= heads.ld, "invariant: heads end at column {end} of {}", heads.ld);
            heads
        })
    }

    /// Returns true if the views of `act` cover all of its columns, each once.
    fn covers(&self, act: Activation, cols: usize) -> bool {
        let widths = [self.heads * self.qk_dim, self.kv_heads * self.qk_dim, self.kv_heads * self.v_dim];
        let views = [self.q, self.k, self.v].into_iter().zip(widths);
        views.filter(|(v, _)| v.act == act).map(|(_, width)| width).sum::<usize>() == cols
    }

    /// One task of the forward pass: `heads` key heads of a segment.
    ///
    /// # Safety
    /// All pointers are valid for the segment, and only this task writes its rows of these heads and its place in the
    /// cache.
    unsafe fn forward_heads(
        &self,
        segment: &Segment,
        heads: std::ops::Range<usize>,
        [q, k, v]: [Heads; 3],
        (out, lse): (SharedPtr, SharedPtr),
        cache: Option<Cache<'_>>,
    ) {
        let (row, n) = (segment.rows.start, segment.rows.len());
        Scratch::with(|scratch| {
            // SAFETY: as promised by the caller; scratch and cache hold whole blocks of keys.
            unsafe {
                if let (Some(cache), 1, 1) = (cache.filter(|c| c.kv_type == KvType::F32), n, self.group()) {
                    let first = self.queries(segment, heads.start, q, out, lse);
                    let mut keys = [self.append(segment, heads.start, k, v, cache); DECODED];
                    for (keys, head) in keys.iter_mut().zip(heads.clone()).skip(1) {
                        *keys = self.append(segment, head, k, v, cache);
                    }
                    kernel::decode(&first, &keys[..heads.len()], grow(&mut scratch.scores, first.scratch()));
                    return;
                }
                for head in heads {
                    let keys = match cache {
                        Some(cache) if cache.kv_type == KvType::F32 => self.append(segment, head, k, v, cache),
                        Some(cache) => {
                            let memory = (&mut scratch.keys, &mut scratch.values);
                            self.append_packed(segment, head, (k, v), cache, memory)
                        }
                        None => {
                            let blocks = grow(&mut scratch.keys, n.next_multiple_of(KEY_BLOCK) * self.qk_dim);
                            kernel::transpose(k.at(row, head), k.ld, n, self.qk_dim, blocks);
                            let (blocks, values, value_ld) = (blocks.as_ptr(), v.at(row, head), v.ld);
                            KeyRuns { blocks, values, value_ld, table: WHOLE, page: n, page_strides: (0, 0) }
                        }
                    };
                    let queries = self.queries(segment, head, q, out, lse);
                    kernel::forward(&queries, &keys, grow(&mut scratch.scores, queries.scratch()));
                }
            }
        });
    }

    /// One task of the backward pass: a key head of a segment. `zero` selects the gradients (of q, k, v) that start at
    /// 0.
    ///
    /// # Safety
    /// As [`Attention::forward_heads`], for the gradients.
    #[allow(clippy::too_many_arguments)]
    unsafe fn backward_head(
        &self,
        segment: &Segment,
        head: usize,
        [q, k, v]: [Heads; 3],
        [dq, dk, dv]: [Heads; 3],
        (out, dout, lse): (SharedPtr, SharedPtr, SharedPtr),
        zero: [bool; 3],
    ) {
        let (row, n) = (segment.rows.start, segment.rows.len());
        let (qk, vd) = (self.qk_dim, self.v_dim);
        let fill = |x: Heads, head: usize, dim: usize| {
            for row in segment.rows.clone() {
                // SAFETY: the columns of a head in a row of this segment.
                unsafe { x.at(row, head).write_bytes(0, dim) };
            }
        };
        Scratch::with(|scratch| {
            let key_blocks = grow(&mut scratch.keys, n.next_multiple_of(KEY_BLOCK) * qk);
            let value_blocks = grow(&mut scratch.values, n.next_multiple_of(KEY_BLOCK) * vd);
            let scores = grow(&mut scratch.scores, backward::SCRATCH);
            // SAFETY: as promised by the caller; scratch holds whole blocks.
            unsafe {
                kernel::transpose(k.at(row, head), k.ld, n, qk, key_blocks);
                kernel::transpose(v.at(row, head), v.ld, n, vd, value_blocks);
            }
            for (x, dim, _) in [(dk, qk, 1), (dv, vd, 2)].into_iter().filter(|x| zero[x.2]) {
                fill(x, head, dim);
            }
            for query_head in head * self.group()..(head + 1) * self.group() {
                if zero[0] {
                    fill(dq, query_head, qk);
                }
                let outputs = |x: SharedPtr| (x.at((row * self.heads + query_head) * vd), self.heads * vd);
                let ((out, ld), (dout, _)) = (outputs(out), outputs(dout));
                let h = Head {
                    rows: n,
                    qk_dim: qk,
                    v_dim: vd,
                    scale: self.scale,
                    q: (q.at(row, query_head), q.ld),
                    k: (k.at(row, head), k.ld),
                    key_blocks: key_blocks.as_ptr(),
                    value_blocks: value_blocks.as_ptr(),
                    out: (out, ld),
                    dout: (dout, ld),
                    lse: (lse.at(row * self.heads + query_head), self.heads),
                    dq: (dq.at(row, query_head), dq.ld),
                    dk: (dk.at(row, head), dk.ld),
                    dv: (dv.at(row, head), dv.ld),
                };
                // SAFETY: as promised by the caller.
                unsafe { kernel::backward(&h, scores) };
            }
        });
    }
}

impl Kernels for Attention {
    fn forward(&self, ctx: &mut Ctx) {
        let cache = self.cache(ctx.cache.as_mut(), &ctx.batch.segments);
        let rows = ctx.rows;
        let [out, lse] = ctx.acts.get([self.out, self.lse]);
        assert!(out.len() == rows * self.heads * self.v_dim && lse.len() == rows * self.heads);
        let results = (SharedPtr(out.as_mut_ptr()), SharedPtr(lse.as_mut_ptr()));
        let inputs = self.heads(rows, |act| {
            let [x] = ctx.acts.get([act]);
            // SAFETY: only a pointer to it is kept, and q, k and v are not written in the forward pass.
            unsafe { std::slice::from_raw_parts_mut(x.as_mut_ptr(), x.len()) }
        });
        let segments = &ctx.batch.segments;
        assert!(segments.iter().all(|s| s.rows.end <= rows), "invariant: segments lie in the batch");
        let decoding = segments.iter().all(|s| s.rows.len() == 1);
        let heads = if decoding { DECODED } else { 1 };
        let tasks = self.kv_heads.div_ceil(heads);
        pool::for_each(segments.len() * tasks, |task| {
            let (segment, first) = (&segments[task / tasks], task % tasks * heads);
            let heads = first..self.kv_heads.min(first + heads);
            // SAFETY: sizes were checked above; a task writes the rows of its segment, the columns of its heads, and
            // its segment's pages' part of its heads (segments write to different pages).
            unsafe { self.forward_heads(segment, heads, inputs, results, cache) };
        });
    }
    fn backward(&self, ctx: &mut Ctx) {
        let rows = ctx.rows;
        let views = [self.q, self.k, self.v];
        let zero = views.map(|view| {
            let first = !ctx.adds(view.act);
            let [d] = ctx.grads.get([view.act]);
            let whole = self.covers(view.act, d.len() / rows.max(1));
            if first && !whole {
                // The columns of other heads in this activation start at 0 too.
                d.fill(0.0);
            }
            first && whole
        });
        let [out, lse] = ctx.acts.get([self.out, self.lse]);
        let (out, lse) = (SharedPtr(out.as_mut_ptr()), SharedPtr(lse.as_mut_ptr()));
        let [dout] = ctx.grads.get([self.out]);
        assert!(dout.len() == rows * self.heads * self.v_dim);
        let results = (out, SharedPtr(dout.as_mut_ptr()), lse);
        let values = self.heads(rows, |act| {
            let [x] = ctx.acts.get([act]);
            // SAFETY: only a pointer to it is kept, and q, k and v are not written in the backward pass.
            unsafe { std::slice::from_raw_parts_mut(x.as_mut_ptr(), x.len()) }
        });
        let grads = self.heads(rows, |act| {
            let [x] = ctx.grads.get([act]);
            // SAFETY: only a pointer to it is kept; tasks write different rows and columns.
            unsafe { std::slice::from_raw_parts_mut(x.as_mut_ptr(), x.len()) }
        });
        let segments = &ctx.batch.segments;
        assert!(segments.iter().all(|s| s.rows.end <= rows), "invariant: segments lie in the batch");
        pool::for_each(segments.len() * self.kv_heads, |task| {
            let (segment, head) = (&segments[task / self.kv_heads], task % self.kv_heads);
            // SAFETY: sizes were checked above; a task writes its segment's rows of its group's query heads and of
            // its key and value head, which no other task has.
            unsafe { self.backward_head(segment, head, values, grads, results, zero) };
        });
    }
}
