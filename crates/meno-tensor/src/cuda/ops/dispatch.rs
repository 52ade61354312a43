//! Dispatch copies a token's row for each of its experts, sorted by expert: see [`crate::ops::dispatch`].
//!
//! The host never knows how many rows an expert has: the offsets stay on the card.

use super::Kernels;
use crate::backend::Error;
use crate::cuda::context::{Ctx, Tensor};
use crate::cuda::driver::Launch;
use crate::ops::dispatch::{Dispatch, Sorted};
use crate::tape::{Dtype, IntTensor};

/// Tokens that a block of the sort counts.
const CHUNK: usize = 128;

/// Threads of a block that copies or adds rows.
const THREADS: u32 = 128;

/// The addresses of the parts of [`Sorted::order`].
#[derive(Clone, Copy)]
pub(super) struct Order {
    /// The first row of each expert, `int[experts + 1]`.
    pub(super) offsets: u64,
    /// The pair of each row.
    pub(super) pairs: u64,
    /// The row of each pair.
    pub(super) rows: u64,
}

impl Order {
    pub(super) fn of(ctx: &Ctx, sorted: &Sorted) -> Order {
        let at = |index: usize| ctx.ints(sorted.order) + (index * size_of::<u32>()) as u64;
        let pairs = sorted.experts + 1;
        Order { offsets: at(0), pairs: at(pairs), rows: at(pairs + ctx.rows * sorted.top_k) }
    }

    /// Sorts pairs by their expert; pairs of one expert stay in order.
    fn sort(self, ctx: &mut Ctx, sorted: &Sorted, chosen: IntTensor) -> Result<(), Error> {
        let Sorted { experts, top_k, .. } = *sorted;
        let (chosen, chunks) = (ctx.ints(chosen), ctx.rows.div_ceil(CHUNK));
        let counts = ctx.temporary(experts, chunks, Dtype::F32)?; // 32-bit integers
        let Order { offsets, pairs, rows } = self;
        let launch = Launch { shared: experts * CHUNK / 8, ..Launch::blocks(chunks, 256) };
        let (tokens, top_k, n) = (ctx.rows.into(), top_k.into(), experts.into());
        if chunks == 1 {
            let args = [offsets.into(), pairs.into(), rows.into(), counts.into(), chosen.into(), tokens, top_k, n];
            return ctx.launch("dispatch_sort", launch, args);
        }
        let sizes = [tokens, top_k, n, chunks.into()];
        let [tokens, top_k, n, chunks] = sizes;
        ctx.launch("dispatch_count", launch, [counts.into(), chosen.into(), tokens, top_k, n, chunks])?;
        ctx.launch("dispatch_scan", Launch::blocks(1, 1024), [counts.into(), offsets.into(), n, chunks])?;
        let args = [pairs.into(), rows.into(), counts.into(), chosen.into(), tokens, top_k, n, chunks];
        ctx.launch("dispatch_place", launch, args)
    }
}

/// Copies each token's row of `x` to its rows of `y`; with `weights`, also each pair's weight (`weights.1`) to its row
/// (`weights.0`).
pub(super) fn gather(ctx: &Ctx, sorted: &Sorted, x: Tensor, y: Tensor, weights: [u64; 2]) -> Result<(), Error> {
    let name = format!("dispatch_rows_{}_{}", x.suffix(), y.suffix());
    let (pairs, [row_weights, weights]) = (Order::of(ctx, sorted).pairs, weights);
    let (top_k, hidden) = (sorted.top_k.into(), sorted.hidden.into());
    let args = [y.into(), x.into(), row_weights.into(), weights.into(), pairs.into(), top_k, hidden];
    ctx.launch(&name, Launch::blocks(ctx.rows * sorted.top_k, THREADS), args)
}

/// Adds a token's rows of `x`, times their weights, in the order of its choices; `start` and `weights` may be null.
pub(super) fn sum_choices(
    ctx: &Ctx,
    sorted: &Sorted,
    x: Tensor,
    y: Tensor,
    [start, weights]: [u64; 2],
) -> Result<(), Error> {
    let name = format!("sum_choices_{}_{}", x.suffix(), y.suffix());
    let (rows, top_k, hidden) = (Order::of(ctx, sorted).rows, sorted.top_k.into(), sorted.hidden.into());
    let args = [y.into(), x.into(), start.into(), weights.into(), rows.into(), top_k, hidden];
    ctx.launch(&name, Launch::blocks(ctx.rows, THREADS), args)
}

impl Kernels for Dispatch {
    fn forward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        Order::of(ctx, &self.sorted).sort(ctx, &self.sorted, self.routes.chosen)?;
        let [x, rows] = [self.x, self.sorted.rows].map(|act| ctx.act(act));
        let weights = [self.sorted.weights, self.routes.weights].map(|act| ctx.act(act).at);
        gather(ctx, &self.sorted, x, rows, weights)
    }
    fn backward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let (drows, drow_weights) = (ctx.grad(self.sorted.rows), ctx.grad(self.sorted.weights));
        let (dx, adds) = ctx.give_grad(self.x);
        sum_choices(ctx, &self.sorted, drows, dx, [if adds { dx.at } else { 0 }, 0])?;
        let (dweights, adds) = ctx.give_grad(self.routes.weights);
        let (rows, n) = (Order::of(ctx, &self.sorted).rows, ctx.rows * self.sorted.top_k);
        let args = [dweights.into(), drow_weights.into(), rows.into(), n.into(), adds.into()];
        ctx.launch("scatter_weights", Launch::elements(n), args)
    }
}
