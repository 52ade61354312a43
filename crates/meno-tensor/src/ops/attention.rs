//! Causal attention over packed sequences: grouped queries, unequal key and value widths, a KV cache for generation.
//!
//! o_i = Σ_{j ≤ i} softmax_j(scale · q_i·k_j) v_j within each segment of the batch. No T×T matrix is stored: a few
//! queries at a time see all their keys, and backward computes the probabilities again from the saved log-sum-exp.
//!
//! Contract: a score is a chain of fused multiply-adds over the head's columns; the sum of exponentials runs over keys
//! in 16 lanes fixed by the key's position; o is a chain over keys from position 0. So a query's output has the
//! same bits in a training pass, in any chunk of a prompt, and decoded from the cache. Always f32.

mod kernel;

use crate::kv_cache::KvCache;
use crate::pool;
use crate::tape::{Act, Ctx, Io, Op};
use kernel::{Grads, Keys, Scratch, Task};

/// Where the heads of q, k or v lie in an activation.
#[derive(Clone, Copy, Debug)]
pub struct HeadView {
    /// The activation.
    pub act: Act,
    /// First column of head 0.
    pub offset: usize,
    /// Distance between heads.
    pub head_stride: usize,
}

/// The op.
pub struct Attention {
    /// Queries, `heads` × `qk_dim`.
    pub q: HeadView,
    /// Keys, `kv_heads` × `qk_dim`.
    pub k: HeadView,
    /// Values, `kv_heads` × `v_dim`.
    pub v: HeadView,
    /// Output `[t, heads · v_dim]`.
    pub out: Act,
    /// log Σ exp of every query's scores `[t, heads]`.
    pub lse: Act,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; a divisor of `heads`.
    pub kv_heads: usize,
    /// Width of a query or key head.
    pub qk_dim: usize,
    /// Width of a value head.
    pub v_dim: usize,
    /// Scores are multiplied by this.
    pub scale: f32,
    /// The layer's index in the KV cache.
    pub layer: usize,
}

impl Attention {
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// The kernel's view of one segment and key head.
    fn task(&self, rows: std::ops::Range<usize>, past: usize, kv_head: usize) -> Task {
        Task {
            rows,
            past,
            first_head: kv_head * self.group(),
            group: self.group(),
            heads: self.heads,
            qk_dim: self.qk_dim,
            v_dim: self.v_dim,
            scale: self.scale,
        }
    }

    /// Writes the new keys and values of every segment to its place in the cache.
    fn append(&self, ctx: &mut Ctx) {
        let [k] = ctx.acts.get([self.k.act]);
        let k: &[f32] = k;
        let ld = k.len() / ctx.rows;
        let cache = ctx.cache.as_deref_mut().expect("invariant: called with a cache");
        let KvCache { layers, max_len, .. } = cache;
        let (max_len, layer) = (*max_len, &mut layers[self.layer]);
        for segment in &ctx.batch.segments {
            let slot = segment.slot.expect("invariant: a generated sequence has a place in the cache");
            for (i, row) in segment.rows.clone().enumerate() {
                let at = segment.past + i;
                for head in 0..self.kv_heads {
                    let x = &k[row * ld + self.k.offset + head * self.k.head_stride..][..self.qk_dim];
                    let keys = &mut layer.keys[(slot * self.kv_heads + head) * self.qk_dim * max_len..];
                    for (d, &x) in x.iter().enumerate() {
                        keys[d * max_len + at] = x;
                    }
                }
            }
        }
        let [v] = ctx.acts.get([self.v.act]);
        let ld = v.len() / ctx.rows;
        for segment in &ctx.batch.segments {
            let slot = segment.slot.expect("invariant: a generated sequence has a place in the cache");
            for (i, row) in segment.rows.clone().enumerate() {
                for head in 0..self.kv_heads {
                    let x = &v[row * ld + self.v.offset + head * self.v.head_stride..][..self.v_dim];
                    let at = ((slot * self.kv_heads + head) * max_len + segment.past + i) * self.v_dim;
                    layer.values[at..at + self.v_dim].copy_from_slice(x);
                }
            }
        }
    }
}

/// A pointer to floats that several tasks write, each to its own rows and columns.
#[derive(Clone, Copy)]
struct Shared(*mut f32, usize);
// SAFETY: tasks write disjoint elements (one segment and key head each); see the uses.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    fn new(data: &mut [f32]) -> Self {
        Shared(data.as_mut_ptr(), data.len())
    }
    /// # Safety
    /// No two threads may touch the same element at once.
    unsafe fn slice<'a>(self) -> &'a mut [f32] {
        // SAFETY: pointer and length of a live slice; the caller keeps elements apart.
        unsafe { std::slice::from_raw_parts_mut(self.0, self.1) }
    }
}

impl Op for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }
    fn io(&self) -> Io {
        let mut inputs = vec![self.q.act];
        for act in [self.k.act, self.v.act] {
            if !inputs.contains(&act) {
                inputs.push(act);
            }
        }
        let saved = inputs.iter().copied().chain([self.out, self.lse]).collect();
        Io {
            reads: inputs.clone(),
            writes: vec![self.out, self.lse],
            saved,
            grad_reads: vec![self.out],
            grad_writes: inputs,
        }
    }
    fn flops(&self, rows: usize) -> u64 {
        // Exact only for one sequence of all rows; profiles use it as an upper bound.
        (rows * rows * self.heads * (self.qk_dim + self.v_dim)) as u64
    }
    fn forward(&self, ctx: &mut Ctx) {
        if ctx.cache.is_some() {
            self.append(ctx);
        }
        let (q, k, v) = (self.q, self.k, self.v);
        let [out, lse] = ctx.acts.get([self.out, self.lse]);
        let (out, lse) = (Shared::new(out), Shared::new(lse));
        let data = [q.act, k.act, v.act].map(|a| {
            let [x] = ctx.acts.get([a]);
            Shared::new(x)
        });
        let [q_ld, k_ld, v_ld] = data.map(|d| d.1 / ctx.rows);
        let segments = &ctx.batch.segments;
        let cache = ctx.cache.as_deref();
        let per_segment = self.kv_heads;
        pool::for_each(segments.len() * per_segment, |task| {
            let (segment, head) = (&segments[task / per_segment], task % per_segment);
            // SAFETY: inputs are only read; out and lse are written at this segment's rows and this group's columns.
            let ([q_data, k_data, v_data], out, lse) = unsafe { (data.map(|d| &*d.slice()), out.slice(), lse.slice()) };
            let task = self.task(segment.rows.clone(), segment.past, head);
            Scratch::with(|scratch| {
                let keys = match cache {
                    Some(cache) => {
                        let layer = &cache.layers[self.layer];
                        let slot = segment.slot.expect("invariant: a generated sequence has a place in the cache");
                        let at = (slot * self.kv_heads + head) * cache.max_len;
                        Keys {
                            keys: &layer.keys[at * self.qk_dim..],
                            key_ld: cache.max_len,
                            values: &layer.values[at * self.v_dim..],
                            value_ld: self.v_dim,
                        }
                    }
                    None => {
                        let at = segment.rows.start;
                        let n = segment.rows.len();
                        let x = &k_data[at * k_ld + k.offset + head * k.head_stride..];
                        let key_ld = kernel::transpose(x, k_ld, n, self.qk_dim, &mut scratch.keys);
                        Keys {
                            keys: &scratch.keys,
                            key_ld,
                            values: &v_data[at * v_ld + v.offset + head * v.head_stride..],
                            value_ld: v_ld,
                        }
                    }
                };
                let q = &q_data[q.offset + task.first_head * q.head_stride..];
                kernel::forward(&task, (q, q_ld, self.q.head_stride), &keys, &mut scratch.probs, out, lse);
            });
        });
    }
    fn backward(&self, ctx: &mut Ctx) {
        let views = [self.q, self.k, self.v];
        for (i, view) in views.iter().enumerate() {
            let seen = views[..i].iter().any(|w| w.act == view.act);
            if !seen && !ctx.adds(view.act) {
                let [d] = ctx.grads.get([view.act]);
                d.fill(0.0);
            }
        }
        let [out, lse] = ctx.acts.get([self.out, self.lse]);
        let (out, lse) = (Shared::new(out), Shared::new(lse));
        let data = views.map(|view| {
            let [x] = ctx.acts.get([view.act]);
            Shared::new(x)
        });
        let grads = views.map(|view| {
            let [d] = ctx.grads.get([view.act]);
            Shared::new(d)
        });
        let [dout] = ctx.grads.get([self.out]);
        let dout: &[f32] = dout;
        let [q_ld, k_ld, v_ld] = data.map(|d| d.1 / ctx.rows);
        let segments = &ctx.batch.segments;
        let per_segment = self.kv_heads;
        pool::for_each(segments.len() * per_segment, |task| {
            let (segment, head) = (&segments[task / per_segment], task % per_segment);
            // SAFETY: values are only read; gradients are written at this segment's rows and this group's columns of
            // q and this head's columns of k and v, which no other task has.
            let (data, [dq, dk, dv], out, lse) =
                unsafe { (data.map(|d| &*d.slice()), grads.map(|d| d.slice()), &*out.slice(), &*lse.slice()) };
            let task = self.task(segment.rows.clone(), 0, head);
            let (at, n) = (segment.rows.start, segment.rows.len());
            let [q, k, v] = views;
            let k_start = at * k_ld + k.offset + head * k.head_stride;
            let v_start = at * v_ld + v.offset + head * v.head_stride;
            Scratch::with(|scratch| {
                let key_ld = kernel::transpose(&data[1][k_start..], k_ld, n, self.qk_dim, &mut scratch.keys);
                kernel::transpose(&data[2][v_start..], v_ld, n, self.v_dim, &mut scratch.values);
                let q_start = q.offset + task.first_head * q.head_stride;
                let mut grads = Grads {
                    dq: (&mut dq[q_start..], q_ld, q.head_stride),
                    dk: (&mut dk[k_start..], k_ld),
                    dv: (&mut dv[v_start..], v_ld),
                };
                let inputs = kernel::Inputs {
                    q: (&data[0][q_start..], q_ld, q.head_stride),
                    k: (&data[1][k_start..], k_ld),
                    keys: &scratch.keys,
                    values: &scratch.values,
                    key_ld,
                    out,
                    dout,
                    lse,
                };
                kernel::backward(&task, &inputs, &mut scratch.probs, &mut scratch.dprobs, &mut grads);
            });
        });
    }
}

#[cfg(test)]
mod tests;
