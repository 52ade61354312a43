//! Experts, y = (silu(x · W_gateᵀ) ⊙ x · W_upᵀ) · W_downᵀ for the rows of each expert: the equations of
//! [`crate::ops::experts`], with its convention for the gradients.
//!
//! A launch covers all experts. The host does not know their rows: it launches as many blocks as there can be tiles of
//! rows, or as many as the card runs at once, and a list made on the card says which tiles there are. Whether tensor
//! cores multiply depends on the types and widths only, so that a row has the same bits in every batch; the kernels of
//! [`sm90`] have the bits of those for every card.

mod every_card;
mod matrices;
mod product;
mod sm90;

use super::Kernels;
use super::dispatch::Order;
use crate::backend::Error;
use crate::cuda::context::Ctx;
use crate::cuda::driver::{Arg, Launch, suffix};
use crate::ops::experts::Experts;
use crate::tape::Dtype;
use every_card::EveryCard;
use matrices::{Addresses, Matrices, Place};
use product::{Product, Rows};

/// The pass of the op that is run.
struct Pass<'a> {
    op: &'a Experts,
    /// The type of the rows.
    dtype: Dtype,
    /// True if tensor cores multiply.
    tensor_cores: bool,
    /// Gate over up, and down.
    weights: [Matrices; 2],
    rows: Rows,
}

impl<'a> Pass<'a> {
    /// Finds the weights and makes the list of tiles.
    fn new(op: &'a Experts, ctx: &Ctx) -> Result<Pass<'a>, Error> {
        let even = op.width.is_multiple_of(8) && op.sorted.hidden.is_multiple_of(8);
        let (dtype, count, experts) = (ctx.dtype(), ctx.rows * op.sorted.top_k, op.experts.len());
        let tensor_cores = dtype == Dtype::Bf16 && even;
        let addresses = Addresses::of(op, |p| {
            let matrix = ctx.matrix(p).dense();
            (matrix.at, matrix.dtype)
        });
        let stacks = tensor_cores && ctx.gpu.card.runs_sm90a() && sm90::is_faster(count, experts);
        let weights = Matrices::find(addresses, stacks, ctx)?;
        let tile = if weights[0].is_stack() { sm90::TILE } else { every_card::TILE };
        let mut rows = Rows { count, experts, offsets: Order::of(ctx, &op.sorted).offsets, tile, tiles: 0 };
        rows.tiles = ctx.temporary(rows.most_tiles(), 4, Dtype::F32)?.at; // 32-bit integers
        rows.list_tiles(ctx.gpu)?;
        Ok(Pass { op, dtype, tensor_cores, weights, rows })
    }

    /// Returns the gradients of the weights.
    fn gradients(&self, ctx: &Ctx) -> Result<[Matrices; 2], Error> {
        let addresses = Addresses::of(self.op, |p| (ctx.param_grad(p).at, Dtype::F32));
        Matrices::find(addresses, self.weights[0].is_stack(), ctx)
    }

    /// Computes a product.
    fn run(&self, ctx: &Ctx, product: Product, w: Matrices) -> Result<(), Error> {
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

impl Kernels for Experts {
    fn forward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let pass = Pass::new(self, ctx)?;
        let [x, y, gate_up] = [self.sorted.rows, self.y, self.gate_up].map(|act| ctx.act(act).at);
        let h = ctx.temporary(pass.rows.count, self.width, pass.dtype)?.at;
        let [gate_up_weights, down] = pass.weights;
        // Only the backward pass reads gate and up.
        pass.run(ctx, Product::Swiglu { h, gate_up, read: ctx.train, x }, gate_up_weights)?;
        pass.run(ctx, Product::Forward { y, x: h }, down)
    }
    fn backward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let (width, pass) = (self.width, Pass::new(self, ctx)?);
        let [gate_up, down] = pass.weights;
        let [dgate_up, ddown] = pass.gradients(ctx)?;
        let [x, weights, products] = [self.sorted.rows, self.sorted.weights, self.gate_up].map(|act| ctx.act(act).at);
        let dy = ctx.grad(self.y).at;
        let [(dx, adds), (dweights, adds_weights)] =
            [self.sorted.rows, self.sorted.weights].map(|act| ctx.give_grad(act));
        assert!(!adds && !adds_weights, "invariant: only this op reads the sorted rows");
        let temporary = |cols| ctx.temporary(pass.rows.count, cols, pass.dtype);
        let (dh, weighted_h, d) = (temporary(width)?.at, temporary(width)?.at, temporary(2 * width)?.at);
        pass.run(ctx, Product::InputGradient { dx: dh, dy }, down)?;
        let pointers = [d, weighted_h, dweights.at, products, dh, weights].map(Arg::from);
        let [d_, weighted_h_, dweights, products, dh, weights] = pointers;
        let args = [d_, weighted_h_, dweights, products, dh, weights, pass.rows.count.into(), width.into()];
        let name = format!("experts_gradient_rows_{}", suffix(pass.dtype));
        ctx.launch(&name, Launch::blocks(pass.rows.count.div_ceil(4), 128), args)?;
        pass.run(ctx, Product::WeightGradient { dy, x: weighted_h }, ddown)?;
        pass.run(ctx, Product::WeightGradient { dy: d, x }, dgate_up)?;
        pass.run(ctx, Product::InputGradient { dx: dx.at, dy: d }, gate_up)
    }
}
