//! A pass of the op with dense matrices: where they lie, the rows, and the kernels that multiply them.

use super::every_card::{self, EveryCard};
use super::matrices::{Addresses, Matrices, Place};
use super::product::{Product, Rows};
use super::sm90;
use crate::backend::Error;
use crate::cuda::context::Ctx;
use crate::cuda::ops::dispatch::Order;
use crate::ops::experts::Experts;
use crate::tape::{Dtype, Param};

/// The pass of the op that is run.
pub(super) struct Pass<'a> {
    op: &'a Experts,
    /// The type of the rows.
    pub(super) dtype: Dtype,
    /// True if tensor cores multiply.
    tensor_cores: bool,
    /// Gate over up, and down.
    pub(super) weights: [Matrices; 2],
    pub(super) rows: Rows,
}

impl<'a> Pass<'a> {
    /// Makes the list of tiles. `weight` returns the address and the type of a matrix.
    pub(super) fn new(op: &'a Experts, ctx: &Ctx, weight: impl Fn(Param) -> (u64, Dtype)) -> Result<Pass<'a>, Error> {
        let even = op.width.is_multiple_of(8) && op.sorted.hidden.is_multiple_of(8);
        let (dtype, count, experts) = (ctx.dtype(), ctx.rows * op.sorted.top_k, op.experts.len());
        let tensor_cores = dtype == Dtype::Bf16 && even;
        let stacks = tensor_cores && ctx.gpu.card.runs_sm90a() && sm90::is_faster(count, experts);
        let weights = Matrices::find(Addresses::of(op, weight), stacks, ctx)?;
        let tile = if weights[0].is_stack() { sm90::TILE } else { every_card::TILE };
        Ok(Pass { op, dtype, tensor_cores, weights, rows: rows(op, ctx, tile)? })
    }

    /// Returns the gradients of the weights.
    pub(super) fn gradients(&self, ctx: &Ctx) -> Result<[Matrices; 2], Error> {
        let addresses = Addresses::of(self.op, |p| (ctx.param_grad(p).at, Dtype::F32));
        Matrices::find(addresses, self.weights[0].is_stack(), ctx)
    }

    /// Computes a product.
    pub(super) fn run(&self, ctx: &Ctx, product: Product, w: Matrices) -> Result<(), Error> {
        match w.place {
            Place::Stack(stack) => {
                let multiprocessors = ctx.gpu.card.multiprocessors as usize;
                sm90::plan(product, stack, w.shape, &self.rows, multiprocessors).run(ctx.gpu)
            }
            Place::Tables(tables) => {
                let kernels = EveryCard { rows: self.rows, dtype: self.dtype, tensor_cores: self.tensor_cores };
                kernels.run(ctx.gpu, product, tables, w)
            }
        }
    }
}

/// Returns the rows of all experts, with a list of tiles of at most `tile` rows.
pub(super) fn rows(op: &Experts, ctx: &Ctx, tile: usize) -> Result<Rows, Error> {
    let (count, offsets) = (ctx.rows * op.sorted.top_k, Order::of(ctx, &op.sorted).offsets);
    let mut rows = Rows { count, experts: op.experts.len(), offsets, tile, tiles: 0 };
    rows.tiles = ctx.temporary(rows.most_tiles(), 4, Dtype::F32)?.at; // 32-bit integers
    rows.list_tiles(ctx.gpu)?;
    Ok(rows)
}
