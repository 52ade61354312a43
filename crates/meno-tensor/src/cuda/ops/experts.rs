//! Experts, y = (silu(x · W_gateᵀ) ⊙ x · W_upᵀ) · W_downᵀ for the rows of each expert: the equations of
//! [`crate::ops::experts`], with its convention for the gradients.
//!
//! A launch covers all experts. The host does not know their rows: it launches as many blocks as there can be tiles of
//! rows, and a list made on the card says which tile a block has, if any. Whether tensor cores multiply depends on the
//! types and widths only, so that a row has the same bits in every batch.

mod quantized;

use super::Kernels;
use super::dispatch::Order;
use crate::backend::Error;
use crate::cuda::context::Ctx;
use crate::cuda::driver::{Arg, Launch, suffix};
use crate::ops::experts::Experts;
use crate::tape::{Dtype, Param};

/// Rows of a tile.
const TILE: usize = 64;
/// Columns of a block: of plain products, and on tensor cores.
const COLUMNS: [usize; 2] = [64, 128];
/// Shared memory of a product on tensor cores: three stages of 64 rows and 128 columns, 64 values of bf16 deep.
const SHARED: usize = 3 * (64 + 128) * 64 * 2;

/// Matrices of all experts on the card: addresses of arrays of addresses.
#[derive(Clone, Copy)]
struct Matrices {
    /// One matrix of each expert, `[rows, cols]`; or the upper rows of it.
    first: u64,
    /// The rows from `split` on.
    second: u64,
    split: usize,
}

/// The pass of the op that is run.
struct Pass<'a> {
    op: &'a Experts,
    /// Rows of all experts together.
    rows: usize,
    /// The type of the rows.
    dtype: Dtype,
    /// True if tensor cores multiply.
    tensor_cores: bool,
    offsets: u64,
}

impl<'a> Pass<'a> {
    fn new(op: &'a Experts, ctx: &Ctx) -> Pass<'a> {
        let (dtype, even) = (ctx.dtype(), op.width.is_multiple_of(8) && op.sorted.hidden.is_multiple_of(8));
        let (rows, offsets) = (ctx.rows * op.sorted.top_k, Order::of(ctx, &op.sorted).offsets);
        Pass { op, rows, dtype, tensor_cores: dtype == Dtype::Bf16 && even, offsets }
    }

    /// Returns the largest number of tiles that the rows can make.
    fn most_tiles(&self) -> usize {
        self.rows.min(self.op.experts.len()) + self.rows / TILE
    }

    /// Makes the list of tiles; returns its address.
    fn tiles(&self, ctx: &mut Ctx) -> Result<u64, Error> {
        let (most, experts) = (self.most_tiles(), self.op.experts.len());
        let tiles = ctx.temporary(most, 4, Dtype::F32)?.at; // 32-bit integers
        let launch = Launch { shared: experts * size_of::<u32>(), ..Launch::blocks(1, 256) };
        ctx.launch("experts_tiles", launch, [tiles.into(), self.offsets.into(), experts.into(), most.into()])?;
        Ok(tiles)
    }

    /// Returns gate over up, and down, from the address and type of each parameter; and the type of each.
    fn matrices(
        &self,
        ctx: &mut Ctx,
        at: impl Fn(&Ctx, Param) -> (u64, Dtype),
    ) -> Result<[(Matrices, Dtype); 2], Error> {
        let (experts, n) = (&self.op.experts, self.op.experts.len());
        let params = experts.iter().map(|e| e.gate).chain(experts.iter().map(|e| e.up));
        let all: Vec<_> = params.chain(experts.iter().map(|e| e.down)).map(|p| at(ctx, p)).collect();
        let (gate_up, down) = all.split_at(2 * n);
        let [gate_up, down] = [gate_up, down].map(|matrices| {
            let dtype = matrices[0].1;
            assert!(matrices.iter().all(|m| m.1 == dtype), "invariant: the matrices of all experts have one type");
            dtype
        });
        let addresses: Vec<u64> = all.iter().map(|m| m.0).collect();
        let start = ctx.constants(&addresses)?;
        let table = |index: usize| start + (index * n * size_of::<u64>()) as u64;
        let (both, one) = (self.op.width, self.op.sorted.hidden);
        Ok([
            (Matrices { first: table(0), second: table(1), split: both }, gate_up),
            (Matrices { first: table(2), second: table(2), split: one.max(both) }, down),
        ])
    }

    /// Returns the weights of the experts.
    fn weights(&self, ctx: &mut Ctx) -> Result<[(Matrices, Dtype); 2], Error> {
        self.matrices(ctx, |ctx, p| {
            let matrix = ctx.matrix(p).dense();
            (matrix.at, matrix.dtype)
        })
    }

    /// Returns a launch of blocks of `threads` for `columns` columns of the tiles in grid row y.
    fn blocks(&self, columns: usize, y: usize) -> Launch {
        let width = COLUMNS[usize::from(self.tensor_cores)];
        match self.tensor_cores {
            true => Launch { grid: [columns.div_ceil(width), y], threads: 128, shared: SHARED },
            false => Launch { grid: [columns.div_ceil(width), y], threads: 256, shared: 0 },
        }
    }

    /// y = x · wᵀ, or dx = dy · w: `kernel` is forward or input_gradient, `cols` the columns of y and of x.
    fn rows_product(
        &self,
        ctx: &Ctx,
        kernel: &str,
        [y, x, tiles]: [u64; 3],
        (w, dtype): (Matrices, Dtype),
        cols: [usize; 2],
    ) -> Result<(), Error> {
        let name = match (self.tensor_cores, kernel) {
            (true, _) => format!("experts_mma_{kernel}"),
            (false, "forward") => format!("experts_forward_{}_{}", suffix(self.dtype), suffix(dtype)),
            (false, _) => {
                assert!(dtype == self.dtype, "invariant: quantized matrices are not trained");
                format!("experts_{kernel}_{}", suffix(dtype))
            }
        };
        let ([n, k], Matrices { first, second, split }) = (cols.map(Arg::from), w);
        let args = [y.into(), x.into(), first.into(), second.into(), tiles.into(), n, k, split.into()];
        ctx.launch(&name, self.blocks(cols[0], self.most_tiles()), args)
    }

    /// dw += dyᵀ · x over the rows of each expert; `cols` are the columns of dy and of x.
    fn weight_gradient(&self, ctx: &Ctx, dw: Matrices, [dy, x]: [u64; 2], cols: [usize; 2]) -> Result<(), Error> {
        let name = match self.tensor_cores {
            true => "experts_mma_weight_gradient".into(),
            false => format!("experts_weight_gradient_{}", suffix(self.dtype)),
        };
        let launch = self.blocks(cols[1], self.op.experts.len());
        let [x_blocks, y_blocks] = launch.grid;
        let launch = Launch { grid: [x_blocks * cols[0].div_ceil(TILE), y_blocks], ..launch };
        let ([n, cols], Matrices { first, second, split }) = (cols.map(Arg::from), dw);
        let args = [first.into(), second.into(), dy.into(), x.into(), self.offsets.into(), n, cols, split.into()];
        ctx.launch(&name, launch, args)
    }

    /// Computes gate, up and h = silu(gate) ⊙ up; returns h.
    fn hidden(&self, ctx: &mut Ctx, x: u64, tiles: u64, w: (Matrices, Dtype)) -> Result<u64, Error> {
        let (hidden, width) = (self.op.sorted.hidden, self.op.width);
        let (h, gate_up) = (ctx.temporary(self.rows, width, self.dtype)?.at, ctx.act(self.op.gate_up).at);
        if self.tensor_cores {
            // Only the backward pass reads gate and up.
            let gate_up = if ctx.train { gate_up } else { 0 };
            let launch = self.blocks(2 * width, self.most_tiles());
            let (Matrices { first, second, .. }, n, k) = (w.0, width.into(), hidden.into());
            let args = [h.into(), gate_up.into(), x.into(), first.into(), second.into(), tiles.into(), n, k];
            ctx.launch("experts_mma_swiglu", launch, args)?;
        } else {
            self.rows_product(ctx, "forward", [gate_up, x, tiles], w, [2 * width, hidden])?;
            self.swiglu(ctx, h, gate_up)?;
        }
        Ok(h)
    }

    /// h = silu(gate) ⊙ up.
    fn swiglu(&self, ctx: &Ctx, h: u64, gate_up: u64) -> Result<(), Error> {
        let (width, name) = (self.op.width, format!("experts_swiglu_{}", suffix(self.dtype)));
        let launch = Launch { grid: [self.rows, width.div_ceil(256)], threads: 256, shared: 0 };
        ctx.launch(&name, launch, [h.into(), gate_up.into(), width.into()])
    }
}

impl Kernels for Experts {
    fn forward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        if quantized::has_blocks(self, ctx) {
            return quantized::forward(self, ctx);
        }
        let pass = Pass::new(self, ctx);
        let [gate_up, down] = pass.weights(ctx)?;
        let [x, y] = [self.sorted.rows, self.y].map(|act| ctx.act(act).at);
        let tiles = pass.tiles(ctx)?;
        let h = pass.hidden(ctx, x, tiles, gate_up)?;
        pass.rows_product(ctx, "forward", [y, h, tiles], down, [self.sorted.hidden, self.width])
    }
    fn backward(&self, ctx: &mut Ctx) -> Result<(), Error> {
        let (hidden, width, pass) = (self.sorted.hidden, self.width, Pass::new(self, ctx));
        let [gate_up, down] = pass.weights(ctx)?;
        let [(dgate_up_weights, _), (ddown, _)] = pass.matrices(ctx, |ctx, p| (ctx.param_grad(p).at, Dtype::F32))?;
        let [x, weights, products] = [self.sorted.rows, self.sorted.weights, self.gate_up].map(|act| ctx.act(act).at);
        let dy = ctx.grad(self.y).at;
        let [(dx, adds), (dweights, adds_weights)] =
            [self.sorted.rows, self.sorted.weights].map(|act| ctx.give_grad(act));
        assert!(!adds && !adds_weights, "invariant: only this op reads the sorted rows");
        let tiles = pass.tiles(ctx)?;
        let temporary = |cols| ctx.temporary(pass.rows, cols, pass.dtype);
        let (dh, weighted_h, d) = (temporary(width)?.at, temporary(width)?.at, temporary(2 * width)?.at);
        pass.rows_product(ctx, "input_gradient", [dh, dy, tiles], down, [width, hidden])?;
        let pointers = [d, weighted_h, dweights.at, products, dh, weights].map(Arg::from);
        let [d_, weighted_h_, dweights, products, dh, weights] = pointers;
        let args = [d_, weighted_h_, dweights, products, dh, weights, pass.rows.into(), width.into()];
        let name = format!("experts_gradient_rows_{}", suffix(pass.dtype));
        ctx.launch(&name, Launch::blocks(pass.rows.div_ceil(4), 128), args)?;
        pass.weight_gradient(ctx, ddown, [dy, weighted_h], [hidden, width])?;
        pass.weight_gradient(ctx, dgate_up_weights, [d, x], [2 * width, hidden])?;
        pass.rows_product(ctx, "input_gradient", [dx.at, d, tiles], gate_up, [hidden, 2 * width])
    }
}
