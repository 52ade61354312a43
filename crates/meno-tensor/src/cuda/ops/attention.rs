//! Attention: new keys and values go to the cache, then a kernel attends; backward is one kernel for each of dq, dk and
//! dv, or one for dq and one for both others.
//!
//! Which bits a result has depends on the widths of the heads and on the element types only, never on the number of
//! rows: so a query has the same bits in training, in a chunk and alone. Kernels of the same bits are chosen by speed:
//! [`decode`] has those for few queries over the cache, [`sm90`] those for compute capability 9.0, whose gradients have
//! bits of their own.

mod decode;
mod mma;
mod sm90;

use self::mma::{Kernel, Mma, Queries};
use super::Kernels;
use crate::backend::{Error, KvStore};
use crate::cuda::context::{Ctx, Tensor};
use crate::cuda::driver::{Arg, Launch};
use crate::kv_cache::KvType;
use crate::ops::attention::{Attention, HeadView};
use crate::tape::{Activation, Dtype};

/// Threads of a block of the kernels for every width.
const THREADS: u32 = 256;

/// Heads of a width in an activation.
#[derive(Clone, Copy)]
pub(super) struct Heads {
    pub(super) view: HeadView,
    pub(super) heads: usize,
    pub(super) dim: usize,
}

/// Returns where to write the gradients of heads, and whether to add. Columns of the activations that no head covers
/// become zero.
pub(super) fn give_heads<const N: usize>(ctx: &Ctx, heads: [Heads; N]) -> Result<[(Tensor, bool); N], Error> {
    let mut zeroed: Vec<Activation> = Vec::new();
    for Heads { view, .. } in heads {
        let (whole, adds) = ctx.give_grad(view.act);
        let of_act: Vec<Heads> = heads.into_iter().filter(|other| other.view.act == view.act).collect();
        if !adds && !zeroed.contains(&view.act) && !cover(&of_act, whole.cols) {
            ctx.zero(whole, ctx.rows)?;
            zeroed.push(view.act);
        }
    }
    Ok(heads.map(|Heads { view, .. }| {
        let (whole, adds) = ctx.give_grad(view.act);
        (whole.columns(view.offset, whole.cols - view.offset), adds || zeroed.contains(&view.act))
    }))
}

/// Returns true if the heads are exactly the columns `0..cols`, each once.
fn cover(all: &[Heads], cols: usize) -> bool {
    let starts = |x: &Heads| {
        let (offset, stride, dim) = (x.view.offset, x.view.head_stride, x.dim);
        (0..x.heads).map(move |head| (offset + head * stride, dim))
    };
    let mut ranges: Vec<(usize, usize)> = all.iter().flat_map(starts).collect();
    ranges.sort_unstable();
    let end = ranges.into_iter().try_fold(0, |end, (start, dim)| (start == end).then_some(start + dim));
    end == Some(cols)
}

/// Returns the name of a type of pages.
fn kv_name(kv_type: KvType) -> &'static str {
    match kv_type {
        KvType::F32 => "f32",
        KvType::Bf16 => "bf16",
        KvType::Q8_0 => "q8_0",
    }
}

/// Returns a width with room for whole chunks of columns.
fn padded(dim: usize) -> usize {
    dim.next_multiple_of(32)
}

/// Floats of the buffers of a block of 8 warps for `rows` rows and slices of `cols` columns: streamed vectors, weights
/// and tiles of the given widths.
fn shared_floats(rows: usize, cols: usize, widths: &[usize]) -> usize {
    let streamed = (64 * 36).max(16 * cols);
    streamed + rows * (64 + widths.iter().map(|&dim| padded(dim)).sum::<usize>())
}

impl Attention {
    /// Returns the number of query heads that share a key head.
    fn rows_per_query(&self) -> usize {
        self.heads / self.kv_heads
    }
    /// Returns the factor of a score in the exponent of 2.
    fn factor(&self) -> f32 {
        self.scale * std::f32::consts::LOG2_E
    }
    fn q_heads(&self) -> Heads {
        Heads { view: self.q, heads: self.heads, dim: self.qk_dim }
    }
    fn k_heads(&self) -> Heads {
        Heads { view: self.k, heads: self.kv_heads, dim: self.qk_dim }
    }
    fn v_heads(&self) -> Heads {
        Heads { view: self.v, heads: self.kv_heads, dim: self.v_dim }
    }

    /// Returns the most tiles of `size` rows that the segments of a batch have, at `group` rows a query.
    fn tiles(ctx: &Ctx, group: usize, size: usize) -> usize {
        ctx.rows * group / size + ctx.on_card.segments
    }

    /// Returns the arguments of q, k, v, sizes and segments; k and v from activations, or from the cache.
    fn inputs(&self, ctx: &Ctx, cached: Option<[u64; 2]>) -> [Arg; 17] {
        let [q, k, v] = [self.q, self.k, self.v].map(|view| ctx.heads(view));
        assert!(q.dtype == k.dtype && q.dtype == v.dtype, "invariant: q, k and v have one type");
        let [keys, values] = cached.unwrap_or([k.at, v.at]);
        [
            q.into(),
            q.ld.into(),
            self.q.head_stride.into(),
            keys.into(),
            k.ld.into(),
            self.k.head_stride.into(),
            values.into(),
            v.ld.into(),
            self.v.head_stride.into(),
            self.heads.into(),
            self.kv_heads.into(),
            self.qk_dim.into(),
            self.v_dim.into(),
            self.factor().into(),
            ctx.on_card.segment_table().into(),
            ctx.on_card.segments.into(),
            ctx.on_card.pages().into(),
        ]
    }

    /// Returns true if the vectors of q, k and v in activations start at multiples of 16 bytes.
    fn aligned(&self, ctx: &Ctx) -> bool {
        [self.q, self.k, self.v].into_iter().all(|view| {
            let x = ctx.heads(view);
            x.at.is_multiple_of(16) && x.ld.is_multiple_of(8) && view.head_stride.is_multiple_of(8)
        })
    }

    /// Writes the new keys and values to the cache; returns its keys, its values and the name of its type.
    fn append_to_pages(&self, ctx: &Ctx) -> Result<Option<([u64; 2], &'static str)>, Error> {
        let Some(cache) = ctx.cache else { return Ok(None) };
        let spec = cache.store.layers()[self.layer];
        let same = (spec.kv_heads, spec.qk_dim, spec.v_dim) == (self.kv_heads, self.qk_dim, self.v_dim);
        assert!(same, "invariant: the cache has {spec:?}");
        assert!(cache.table.pages() <= cache.store.pages(), "invariant: the store has every page of the table");
        let ([keys, values], kv) = (cache.store.layer(self.layer), kv_name(cache.store.kv_type()));
        let [k, v] = [self.k, self.v].map(|view| ctx.heads(view));
        let name = format!("cache_append_{}_{kv}", k.suffix());
        let args = [
            keys.into(),
            k.into(),
            k.ld.into(),
            self.k.head_stride.into(),
            self.qk_dim.into(),
            values.into(),
            v.into(),
            v.ld.into(),
            self.v.head_stride.into(),
            self.v_dim.into(),
            self.kv_heads.into(),
            ctx.on_card.row_segments().into(),
            ctx.on_card.segment_table().into(),
            ctx.on_card.pages().into(),
        ];
        let launch = Launch { grid: [ctx.rows * self.kv_heads, 2], threads: 128, shared: 0 };
        ctx.launch(&name, launch, args)?;
        Ok(Some(([keys, values], kv)))
    }

    /// Forward with the kernel for every width; `source` names where keys and values are.
    fn attend(&self, ctx: &Ctx, cached: Option<[u64; 2]>, source: &str) -> Result<(), Error> {
        let (out, lse) = (ctx.act(self.out), ctx.act(self.lse));
        let (rows, cols) = if self.v_dim <= 128 { (32, 128) } else { (16, 512) };
        let launch = Launch {
            grid: [Self::tiles(ctx, self.rows_per_query(), rows), self.kv_heads * self.v_dim.div_ceil(cols)],
            threads: THREADS,
            shared: 4 * shared_floats(rows, cols, &[self.qk_dim]),
        };
        let name = format!("attention_{}_{source}_{cols}", out.suffix());
        let mut args = vec![out.into(), lse.into()];
        args.extend(self.inputs(ctx, cached));
        ctx.gpu.launch(&name, launch, &mut args)
    }

    /// Forward on tensor cores.
    fn attend_mma(&self, ctx: &Ctx, widths: Mma, cached: Option<[u64; 2]>, source: &str) -> Result<(), Error> {
        let (out, lse, queries) = (ctx.act(self.out), ctx.act(self.lse), Queries::of(self, ctx));
        let multiprocessors = ctx.gpu.card.multiprocessors as usize;
        let few = cached.and_then(|_| decode::plan(widths, source, queries, multiprocessors));
        let Kernel { name, launch } = few.unwrap_or_else(|| mma::plan(widths, source, queries));
        let mut args = vec![out.into(), lse.into()];
        args.extend(self.inputs(ctx, cached));
        args.push(self.aligned(ctx).into());
        ctx.gpu.launch(&name, launch, &mut args)
    }

    /// Returns how forward without a cache runs on compute capability 9.0, if it can.
    fn plan_sm90(&self, ctx: &Ctx) -> Option<sm90::Plan> {
        if ctx.cache.is_some() || !ctx.gpu.card.runs_sm90a() {
            return None;
        }
        let inputs = [self.q, self.k, self.v].map(|view| ctx.heads(view));
        sm90::plan(self, inputs, sm90::Rows { rows: ctx.rows, segments: ctx.on_card.segments })
    }

    /// Returns how the gradients `to` are computed on compute capability 9.0, if it can.
    fn plan_backward_sm90(&self, ctx: &Ctx, to: [(Tensor, bool); 3]) -> Option<sm90::backward::Plan> {
        if !ctx.gpu.card.runs_sm90a() {
            return None;
        }
        let inputs = [self.q, self.k, self.v].map(|view| ctx.heads(view));
        let places = sm90::backward::Places { inputs, dout: ctx.grad(self.out), to };
        sm90::backward::plan(self, places, sm90::Rows { rows: ctx.rows, segments: ctx.on_card.segments })
    }

    /// Computes o·do for every row and head.
    fn output_dot(&self, ctx: &mut Ctx) -> Result<Tensor, Error> {
        let delta = ctx.temporary(ctx.rows, self.heads, Dtype::F32)?;
        let (out, dout, count) = (ctx.act(self.out), ctx.grad(self.out), ctx.rows * self.heads);
        assert!(out.dtype == dout.dtype, "invariant: a gradient has the type of its activation");
        let name = format!("attention_delta_{}", out.suffix());
        let args = [delta.into(), out.into(), dout.into(), count.into(), self.v_dim.into()];
        ctx.launch(&name, Launch::blocks(count.div_ceil(8), THREADS), args)?;
        Ok(delta)
    }

    /// Runs the kernel of one gradient.
    fn give(&self, ctx: &Ctx, gradient: Gradient, delta: Tensor, (to, add): (Tensor, bool)) -> Result<(), Error> {
        let (dout, dtype, heads) = (ctx.grad(self.out), to.dtype, gradient.heads(self));
        let stride = heads.view.head_stride;
        let widths = Mma::of(self, dtype);
        let mut args = vec![
            to.into(),
            to.ld.into(),
            stride.into(),
            add.into(),
            dout.into(),
            ctx.act(self.lse).into(),
            delta.into(),
            self.scale.into(),
        ];
        args.extend(self.inputs(ctx, None));
        let group = if gradient == Gradient::Q { self.rows_per_query() } else { 1 };
        if let Some(widths) = widths {
            let Mma([qk, v]) = widths;
            let stored = to.at.is_multiple_of(4) && to.ld.is_multiple_of(2) && stride.is_multiple_of(2);
            args.extend([self.aligned(ctx), stored].map(Arg::from));
            let grid = [Self::tiles(ctx, group, mma::ROWS), self.kv_heads];
            let tiles = if gradient == Gradient::V { qk } else { qk + v };
            let shared = 2 * (mma::ROWS * tiles + widths.streamed() * (qk + v)) + 12 * widths.streamed();
            let name = format!("attention_mma_{}_{qk}_{v}", gradient.name());
            return ctx.gpu.launch(&name, Launch { grid, threads: 128, shared }, &mut args);
        }
        let grid = [Self::tiles(ctx, group, 32), self.kv_heads * heads.dim.div_ceil(128)];
        let shared = 4 * shared_floats(32, 128, &[self.qk_dim, self.v_dim]);
        let name = format!("attention_{}_{}", gradient.name(), to.suffix());
        ctx.gpu.launch(&name, Launch { grid, threads: THREADS, shared }, &mut args)
    }
}

/// A gradient of attention.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gradient {
    Q,
    K,
    V,
}

impl Gradient {
    fn name(self) -> &'static str {
        match self {
            Gradient::Q => "dq",
            Gradient::K => "dk",
            Gradient::V => "dv",
        }
    }
    fn heads(self, op: &Attention) -> Heads {
        match self {
            Gradient::Q => op.q_heads(),
            Gradient::K => op.k_heads(),
            Gradient::V => op.v_heads(),
        }
    }
}

impl Kernels for Attention {
    fn forward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        if let Some(plan) = self.plan_sm90(ctx) {
            return plan.run(self, ctx);
        }
        let cache = self.append_to_pages(ctx)?;
        let (cached, source) = (cache.map(|(at, _)| at), cache.map_or("rows", |(_, kv)| kv));
        match Mma::of(self, ctx.act(self.out).dtype) {
            Some(widths) => self.attend_mma(ctx, widths, cached, source),
            None => self.attend(ctx, cached, source),
        }
    }
    fn backward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let delta = self.output_dot(ctx)?;
        let to = give_heads(ctx, [self.q_heads(), self.k_heads(), self.v_heads()])?;
        if let Some(plan) = self.plan_backward_sm90(ctx, to) {
            return plan.run(self, ctx, delta);
        }
        for (gradient, to) in [Gradient::Q, Gradient::K, Gradient::V].into_iter().zip(to) {
            self.give(ctx, gradient, delta, to)?;
        }
        Ok(())
    }
}
