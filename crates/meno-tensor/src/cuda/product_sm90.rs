//! Products of bf16 matrices on compute capability 9.0 (H100, H200), with TMA and wgmma.
//!
//! An element of x · wᵀ and of dy · w is one chain over k in ascending steps of 16, as in the kernels for every card
//! (product.rs), and has the same bits. A plan decides speed alone, but for the gradient of a weight, whose sums are
//! split by its shape.

#[cfg(test)]
mod tests;
mod weight_gradient;

use super::context::{Scratch, Tensor};
use super::driver::{Arg, Gpu, Launch, MatrixBox};
use super::product::Product;
use crate::backend::Error;
use crate::precision::Precision;
use crate::tape::Dtype;
use weight_gradient::{BARRIERS, K_BLOCK, ROW, Split};

/// The shared memory of a block in bytes.
const SHARED: usize = 232_448;
/// The most rows that take the kernels for few rows.
const FEW: usize = 64;

/// How a product runs.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    product: Product,
    kernel: String,
    launch: Launch,
    /// What TMA copies: the kernel's first parameters.
    boxes: Vec<MatrixBox>,
    work: Work,
}

/// What the kernel needs to know besides.
#[derive(Clone, Copy, Debug)]
enum Work {
    Many,
    Few {
        /// Warps that multiply, each 16 rows of w.
        warps: usize,
        /// Buffers of the ring.
        stages: usize,
    },
    WeightGradient(Split),
}

/// Returns how a product runs on a card of compute capability 9.0 with this number of multiprocessors. `None`: these
/// kernels cannot, because of the types or of where the matrices lie.
pub(super) fn plan(product: &Product, multiprocessors: usize) -> Option<Plan> {
    if !fits(product) {
        return None;
    }
    let [m, ..] = product.shape;
    match (product.a.transposed, product.b.transposed) {
        (false, true) if m <= FEW => Some(few(product, multiprocessors)),
        (false, _) => Some(many(product, multiprocessors)),
        (true, false) => weight_gradient(product),
        (true, true) => None,
    }
}

/// Returns true if the kernels can read and write the matrices.
fn fits(product: &Product) -> bool {
    let Product { a, b, y, shape: [m, n, k], precision, bias, residual, .. } = product;
    let factors = [a.matrix, b.matrix].iter().all(|x| x.dtype == Dtype::Bf16 && in_boxes(x));
    // Results are read and written in pairs, in bf16 by TMA.
    let pairs = n.is_multiple_of(2) && y.ld.is_multiple_of(2) && [y.at, *bias, *residual].iter().all(|at| at % 8 == 0);
    let stored = y.dtype == Dtype::F32 || in_boxes(y);
    *precision == Precision::Bf16 && *m > 0 && *n > 0 && *k > 0 && factors && pairs && stored
}

/// Returns true if TMA can copy boxes of a bf16 matrix.
fn in_boxes(x: &Tensor) -> bool {
    x.at.is_multiple_of(16) && x.ld.is_multiple_of(8)
}

/// Returns the boxes of `box_rows` rows of a matrix.
fn boxes(x: Tensor, [rows, cols]: [usize; 2], box_rows: usize) -> MatrixBox {
    MatrixBox { at: x.at, rows, cols, ld: x.ld, box_rows }
}

/// A tile of the kernels for many rows: 128 rows and `cols` columns.
struct Tile {
    cols: usize,
    /// Buffers of the ring.
    stages: usize,
    /// The time that a column takes, relative to the largest tile: measured on an H100, estimated for 64 columns.
    cost: usize,
}

const TILES: [Tile; 4] = [
    Tile { cols: 256, stages: 4, cost: 100 },
    Tile { cols: 192, stages: 4, cost: 102 },
    Tile { cols: 128, stages: 6, cost: 112 },
    Tile { cols: 64, stages: 8, cost: 150 },
];
const TILE_ROWS: usize = 128;
/// Two buffers of 16 rows for each of eight warps, on the way to a bf16 result.
const STAGING: usize = 8 * 2 * 16 * ROW;

/// Threads of a block: one warpgroup loads, two multiply.
const THREADS: u32 = 384;

/// y = x · wᵀ and dx = dy · w. Takes the tile whose rounds of all multiprocessors are the shortest.
fn many(product: &Product, multiprocessors: usize) -> Plan {
    let Product { a, b, y, shape: [m, n, k], .. } = *product;
    let count = |tile: &Tile| m.div_ceil(TILE_ROWS) * n.div_ceil(tile.cols);
    let time = |tile: &&Tile| count(tile).div_ceil(multiprocessors) * tile.cols * tile.cost;
    let tile = TILES.iter().min_by_key(time).expect("invariant: there are tiles");
    let mut maps = vec![boxes(a.matrix, [m, k], TILE_ROWS)];
    maps.push(match b.transposed {
        true => boxes(b.matrix, [n, k], tile.cols),
        false => boxes(b.matrix, [k, n], K_BLOCK),
    });
    let mut shared = tile.stages * ((TILE_ROWS + tile.cols) * ROW + BARRIERS);
    if y.dtype == Dtype::Bf16 {
        maps.push(boxes(y, [m, n], 16));
        shared += STAGING;
    }
    let form = if b.transposed { "nt" } else { "nn" };
    let launch = Launch { grid: [count(tile).min(multiprocessors), 1], threads: THREADS, shared };
    let kernel = format!("gemm_sm90a_128x{}_{form}_{}", tile.cols, y.suffix());
    Plan { product: *product, kernel, launch, boxes: maps, work: Work::Many }
}

/// y = x · wᵀ for at most 64 rows of x. With mma.sync (up to 16 rows) a tile is 16 to 128 rows of w, with wgmma 64 or
/// 128: the smallest with which no multiprocessor gets a second one, as far as that goes.
fn few(product: &Product, multiprocessors: usize) -> Plan {
    let Product { a, b, y, shape: [m, n, k], .. } = *product;
    let x_rows = [8, 16, 32, 64].into_iter().find(|&rows| m <= rows).expect("invariant: few rows");
    let sizes: &[usize] = if x_rows <= 16 { &[1, 2, 4, 8] } else { &[4, 8] };
    let tiles = |warps: usize| n.div_ceil(16 * warps);
    let one_round = sizes.iter().find(|&&warps| tiles(warps) <= multiprocessors);
    let warps = *one_round.unwrap_or(&8);
    let stage = 2 * (16 * warps + x_rows) * ROW + BARRIERS;
    let stages = (SHARED / stage).min(16);
    let launch = Launch {
        grid: [tiles(warps).min(multiprocessors), 1],
        threads: 32 * (warps as u32 + 1),
        shared: stages * stage,
    };
    let maps = vec![boxes(b.matrix, [n, k], 16 * warps), boxes(a.matrix, [m, k], x_rows)];
    let kernel = format!("few_sm90a_{x_rows}_{}", y.suffix());
    Plan { product: *product, kernel, launch, boxes: maps, work: Work::Few { warps, stages } }
}

/// dw += dyᵀ · x.
fn weight_gradient(product: &Product) -> Option<Plan> {
    let Product { a, b, y, shape: [m, n, k], bias, residual, add, .. } = *product;
    // Both in pairs: one of them is the columns.
    if y.dtype != Dtype::F32 || !add || bias != 0 || residual != 0 || !m.is_multiple_of(2) {
        return None;
    }
    let split = Split::new([m, n, k])?;
    let [first, second] = if split.transposed { [(b, n), (a, m)] } else { [(a, m), (b, n)] };
    let maps = [first, second].map(|(factor, cols)| boxes(factor.matrix, [k, cols], K_BLOCK));
    let kernel = format!("weight_gradient_sm90a{}", split.suffix());
    let launch = Launch { grid: [split.grid(), 1], threads: THREADS, shared: split.shared() };
    Some(Plan { product: *product, kernel, launch, boxes: maps.into(), work: Work::WeightGradient(split) })
}

impl Plan {
    /// Runs the product.
    pub(super) fn run(&self, gpu: &Gpu, scratch: Option<&mut Scratch>) -> Result<(), Error> {
        let maps = self.boxes.iter().map(|&matrix| gpu.tensor_map(matrix).map(Arg::from));
        let mut args = maps.collect::<Result<Vec<Arg>, Error>>()?;
        match self.work {
            Work::Many => args.extend(self.args()),
            Work::Few { warps, stages } => {
                args.extend(self.args());
                args.extend([warps, stages].map(Arg::from));
            }
            Work::WeightGradient(split) => return self.run_weight_gradient(split, args, gpu, scratch),
        }
        gpu.launch(&self.kernel, self.launch, &mut args)
    }

    /// Returns the arguments that describe y.
    fn args(&self) -> [Arg; 8] {
        let Product { y, shape: [m, n, k], bias, residual, add, .. } = self.product;
        [y.into(), bias.into(), residual.into(), m.into(), n.into(), k.into(), y.ld.into(), add.into()]
    }

    /// Runs the sums, then adds those of tiles that are not whole.
    fn run_weight_gradient(
        &self,
        split: Split,
        mut args: Vec<Arg>,
        gpu: &Gpu,
        scratch: Option<&mut Scratch>,
    ) -> Result<(), Error> {
        let y = self.product.y;
        let sums = match (split.slots(), scratch) {
            (0, _) => 0,
            (slots, Some(scratch)) => scratch.take(slots * weight_gradient::TILE_BYTES)?,
            (_, None) => unreachable!("invariant: the gradient of a weight is computed in a pass"),
        };
        let mut rest = split.args(y.at, sums, y.ld);
        args.extend(rest);
        gpu.launch(&self.kernel, self.launch, &mut args)?;
        if split.slots() == 0 {
            return Ok(());
        }
        gpu.launch(&format!("add_shares_sm90a{}", split.suffix()), split.add_launch(), &mut rest)
    }
}
