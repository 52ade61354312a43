//! Attention, o_i = Σ_{j ≤ i} softmax_j(scale · q_i·k_j) v_j: the equations of [`crate::ops::attention`].
//!
//! Each query is computed separately, its sums run over keys from position 0, and a new token's key and value are read
//! back from the cache. So neither chunks nor other rows change a bit.

use super::Kernels;
use crate::ops::attention::{Attention, HeadView};
use crate::reference::context::{Cache, Ctx};
use crate::reference::kv_store::{Part, Place};
use crate::reference::math::dot;
use crate::tape::{Activation, PAGE, Segment};

/// A copy of an activation, viewed as heads.
struct Heads {
    data: Vec<f32>,
    ld: usize,
    view: HeadView,
    dim: usize,
}

impl Heads {
    fn column(&self, head: usize) -> usize {
        self.view.offset + head * self.view.head_stride
    }
    fn get(&self, row: usize, head: usize) -> &[f32] {
        &self.data[row * self.ld + self.column(head)..][..self.dim]
    }
    /// Returns a head of all rows of a segment.
    fn of(&self, segment: &Segment, head: usize) -> Vec<Vec<f32>> {
        segment.rows.clone().map(|row| self.get(row, head).to_vec()).collect()
    }
}

/// Returns q, k and v.
fn inputs(op: &Attention, ctx: &Ctx) -> [Heads; 3] {
    let heads = |view: HeadView, dim| Heads { data: ctx.value(view.act), ld: ctx.cols(view.act), view, dim };
    [heads(op.q, op.qk_dim), heads(op.k, op.qk_dim), heads(op.v, op.v_dim)]
}

/// Writes the new keys and values of a segment and head to the cache; returns all keys and all values of its sequence.
fn append(
    op: &Attention,
    segment: &Segment,
    head: usize,
    [k, v]: [&Heads; 2],
    cache: &mut Cache,
) -> [Vec<Vec<f32>>; 2] {
    let slot = segment.slot.expect("invariant: a generated sequence has a slot in the cache");
    let table = cache.table.table(slot);
    let place = |part, at: usize| Place { layer: op.layer, part, head, page: table[at / PAGE], token: at % PAGE };
    for (row, at) in segment.rows.clone().zip(segment.past..) {
        cache.store.write(place(Part::Key, at), k.get(row, head));
        cache.store.write(place(Part::Value, at), v.get(row, head));
    }
    let end = segment.past + segment.rows.len();
    [Part::Key, Part::Value].map(|part| (0..end).map(|at| cache.store.read(place(part, at))).collect())
}

fn check_cache(op: &Attention, cache: &Cache) {
    let spec = crate::backend::KvStore::layers(cache.store)[op.layer];
    let same = (spec.kv_heads, spec.qk_dim, spec.v_dim) == (op.kv_heads, op.qk_dim, op.v_dim);
    assert!(same, "invariant: the cache has {spec:?}");
    assert!(cache.table.pages() <= cache.store.pages(), "invariant: the store has every page of the table");
}

/// Returns the output and log-sum-exp of one query over its visible keys.
fn attend(scale: f32, q: &[f32], keys: &[Vec<f32>], values: &[Vec<f32>]) -> (Vec<f64>, f64) {
    let scores: Vec<f64> = keys.iter().map(|k| scale as f64 * dot(q, k)).collect();
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
    let sum: f64 = exps.iter().sum();
    let mut out = vec![0.0; values[0].len()];
    for (e, v) in exps.iter().zip(values) {
        out.iter_mut().zip(v).for_each(|(o, &v)| *o += e / sum * v as f64);
    }
    (out, max + sum.ln())
}

/// The gradient of an activation that holds q, k or v; one entry if it holds several of them.
struct Gradient {
    act: Activation,
    data: Vec<f64>,
}

/// Adds `factor` · x to a head of a row.
fn add_to(grads: &mut [Gradient], heads: &Heads, row: usize, head: usize, factor: f64, x: &[f32]) {
    let gradient = grads.iter_mut().find(|g| g.act == heads.view.act).expect("invariant: an input of the op");
    let d = &mut gradient.data[row * heads.ld + heads.column(head)..][..heads.dim];
    d.iter_mut().zip(x).for_each(|(d, &x)| *d += factor * x as f64);
}

impl Kernels for Attention {
    fn forward(&self, ctx: &mut Ctx) {
        let [q, k, v] = inputs(self, ctx);
        let mut cache = ctx.cache.take();
        cache.iter().for_each(|cache| check_cache(self, cache));
        let (mut out, mut lse) = (vec![0.0; ctx.rows * self.heads * self.v_dim], vec![0.0; ctx.rows * self.heads]);
        let group = self.heads / self.kv_heads;
        for (segment, kv_head) in ctx.batch.segments.iter().flat_map(|s| (0..self.kv_heads).map(move |h| (s, h))) {
            let ([keys, values], past) = match &mut cache {
                Some(cache) => (append(self, segment, kv_head, [&k, &v], cache), segment.past),
                None => ([k.of(segment, kv_head), v.of(segment, kv_head)], 0),
            };
            for (i, row) in segment.rows.clone().enumerate() {
                for head in kv_head * group..(kv_head + 1) * group {
                    let seen = past + i + 1;
                    let (o, l) = attend(self.scale, q.get(row, head), &keys[..seen], &values[..seen]);
                    out[(row * self.heads + head) * self.v_dim..][..self.v_dim].copy_from_slice(&o);
                    lse[row * self.heads + head] = l;
                }
            }
        }
        ctx.cache = cache;
        ctx.set(self.out, &out);
        ctx.set(self.lse, &lse);
    }
    /// With p = exp(s − lse) and δ = o·do: dv_j = Σ_i p_ij do_i, ds_ij = p_ij (do_i·v_j − δ_i),
    /// dk_j = scale Σ_i ds_ij q_i, dq_i = scale Σ_j ds_ij k_j.
    fn backward(&self, ctx: &mut Ctx) {
        let heads = inputs(self, ctx);
        let [q, k, v] = &heads;
        let (out, lse, dout) = (ctx.value(self.out), ctx.value(self.lse), ctx.grad(self.out));
        let (scale, vd, group) = (self.scale as f64, self.v_dim, self.heads / self.kv_heads);
        let mut grads: Vec<Gradient> = Vec::new();
        for x in &heads {
            if grads.iter().all(|g| g.act != x.view.act) {
                grads.push(Gradient { act: x.view.act, data: vec![0.0; x.data.len()] });
            }
        }
        for (segment, head) in ctx.batch.segments.iter().flat_map(|s| (0..self.heads).map(move |h| (s, h))) {
            for i in segment.rows.clone() {
                let at = i * self.heads + head;
                let (o, d) = (&out[at * vd..][..vd], &dout[at * vd..][..vd]);
                let (delta, kv_head) = (dot(o, d), head / group);
                for j in segment.rows.start..=i {
                    let (q_i, k_j, v_j) = (q.get(i, head), k.get(j, kv_head), v.get(j, kv_head));
                    let p = (scale * dot(q_i, k_j) - lse[at] as f64).exp();
                    let ds = scale * p * (dot(d, v_j) - delta);
                    add_to(&mut grads, v, j, kv_head, p, d);
                    add_to(&mut grads, k, j, kv_head, ds, q_i);
                    add_to(&mut grads, q, i, head, ds, k_j);
                }
            }
        }
        grads.iter().for_each(|g| ctx.give_grad(g.act, &g.data));
    }
}
