//! The products of experts on compute capability 9.0 (H100, H200), with TMA and wgmma.
//!
//! An element is one chain over k in ascending steps of 16, as in the kernels for every card, and has the same bits: a
//! plan decides speed alone.

#[cfg(test)]
mod tests;

use super::matrices::Stack;
use super::product::{Product, Rows};
use crate::backend::Error;
use crate::cuda::driver::{Arg, Gpu, Launch, MatrixBox, MatrixStack};

/// The rows of a tile.
pub(super) const TILE: usize = 128;
/// Threads of a block: one warpgroup loads, two multiply.
const THREADS: u32 = 384;
/// The k of a box, and the columns of a box whose rows are k.
const BOX: usize = 64;
/// Bytes of a row of a box.
const ROW: usize = 128;
/// The two barriers of a buffer.
const BARRIERS: usize = 16;
/// Rows of a box of weights with adjacent k; columns of gate in a tile.
const WEIGHT_ROWS: usize = 128;
/// Rows of a box of results.
const RESULT_ROWS: usize = 16;
/// Two buffers for results of each of eight warps.
const STAGING: usize = 8 * 2 * RESULT_ROWS * ROW;
/// The columns of a tile of a weight's gradient, and buffers of its ring.
const GRADIENT: (usize, usize) = (256, 4);

/// A size of tiles of rows times weights.
struct Tile {
    cols: usize,
    /// Buffers of the ring.
    stages: usize,
    /// The time that a column takes, relative to the largest tile, as measured for dense products on an H100.
    cost: usize,
}

const TILES: [Tile; 2] = [Tile { cols: 256, stages: 4, cost: 100 }, Tile { cols: 128, stages: 6, cost: 112 }];

/// The rows per expert from which on these kernels run. With fewer, the time is that of reading the weights, for which
/// the small tiles of the kernels for every card leave fewer multiprocessors idle.
const LEAST: usize = 32;

/// Returns true if these kernels are the faster ones for `rows` rows of `experts` experts. How many an
/// expert has is not known.
pub(super) fn is_faster(rows: usize, experts: usize) -> bool {
    rows >= LEAST * experts
}

/// How a product runs.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    kernel: String,
    launch: Launch,
    /// The weights, and the matrices of rows: the kernel's first parameters.
    weights: Option<MatrixStack>,
    boxes: Vec<MatrixBox>,
    args: Vec<Arg>,
}

/// Returns how a product with the matrices `w` of this shape, both sizes multiples of 8, runs on a card with this
/// number of multiprocessors.
pub(super) fn plan(product: Product, w: Stack, shape: [usize; 2], rows: &Rows, multiprocessors: usize) -> Plan {
    let planner = Planner { w, shape, rows, multiprocessors };
    match product {
        Product::Forward { y, x } => planner.forward(y, x),
        Product::Swiglu { h, gate_up, read, x } => planner.swiglu(h, if read { gate_up } else { 0 }, x),
        Product::InputGradient { dx, dy } => planner.input_gradient(dx, dy),
        Product::WeightGradient { dy, x } => planner.weight_gradient(dy, x),
    }
}

#[derive(Clone, Copy)]
struct Planner<'a> {
    w: Stack,
    shape: [usize; 2],
    rows: &'a Rows,
    multiprocessors: usize,
}

impl Planner<'_> {
    /// Returns the boxes of a matrix with a row for each row of the experts.
    fn boxes(&self, at: u64, cols: usize, box_rows: usize) -> MatrixBox {
        MatrixBox { at, rows: self.rows.count, cols, ld: cols, box_rows }
    }
    /// Returns the boxes of the weights.
    fn weights(&self, box_rows: usize) -> Option<MatrixStack> {
        let ([rows, cols], Stack { at, stride }) = (self.shape, self.w);
        let first = MatrixBox { at, rows, cols, ld: cols, box_rows };
        Some(MatrixStack { first, count: self.rows.experts, stride })
    }
    /// Returns the launch for tiles of this many columns, `across` in a row.
    fn launch(&self, tile: &Tile, across: usize) -> Launch {
        let shared = tile.stages * ((TILE + tile.cols) * ROW + BARRIERS) + STAGING;
        let blocks = (self.rows.most_tiles() * across).min(self.multiprocessors);
        Launch { grid: [blocks, 1], threads: THREADS, shared }
    }
    /// Returns the tile for `n` columns: the one whose rounds of all multiprocessors are the shortest, if an expert's
    /// last tile is half full.
    fn tile(&self, n: usize) -> &'static Tile {
        let down = self.rows.count.div_ceil(TILE) + self.rows.experts / 2;
        let rounds = |tile: &Tile| (down * n.div_ceil(tile.cols)).div_ceil(self.multiprocessors);
        let time = |tile: &&Tile| rounds(tile) * tile.cols * tile.cost;
        TILES.iter().min_by_key(time).expect("invariant: there are tiles")
    }
    /// Returns the arguments of all products but gradients of weights: the tiles, the columns of results, and k.
    fn tile_args(&self, across: usize, n: usize, k: usize) -> [Arg; 5] {
        [self.rows.tiles.into(), self.rows.most_tiles().into(), across.into(), n.into(), k.into()]
    }

    fn forward(self, y: u64, x: u64) -> Plan {
        let [n, k] = self.shape;
        self.rows_product("forward", self.weights(WEIGHT_ROWS), [y, x], [n, k])
    }
    fn input_gradient(self, dx: u64, dy: u64) -> Plan {
        let [k, n] = self.shape;
        self.rows_product("input_gradient", self.weights(BOX), [dx, dy], [n, k])
    }
    fn rows_product(self, form: &str, weights: Option<MatrixStack>, [y, x]: [u64; 2], [n, k]: [usize; 2]) -> Plan {
        let tile = self.tile(n);
        let across = n.div_ceil(tile.cols);
        Plan {
            kernel: format!("experts_sm90a_{form}_{}", tile.cols),
            launch: self.launch(tile, across),
            weights,
            boxes: vec![self.boxes(x, k, TILE), self.boxes(y, n, RESULT_ROWS)],
            args: [&[Arg::from(y)][..], &self.tile_args(across, n, k)].concat(),
        }
    }

    /// `gate_up` may be null.
    fn swiglu(self, h: u64, gate_up: u64, x: u64) -> Plan {
        let [both, k] = self.shape;
        let width = both / 2;
        let across = width.div_ceil(WEIGHT_ROWS);
        let half = |index: usize| match gate_up {
            0 => self.boxes(h, width, RESULT_ROWS), // a place for the argument, not used
            _ => {
                let at = gate_up + (index * width * size_of::<u16>()) as u64;
                MatrixBox { ld: both, ..self.boxes(at, width, RESULT_ROWS) }
            }
        };
        Plan {
            kernel: "experts_sm90a_swiglu".into(),
            launch: self.launch(&TILES[0], across),
            weights: self.weights(WEIGHT_ROWS),
            boxes: vec![self.boxes(x, k, TILE), self.boxes(h, width, RESULT_ROWS), half(0), half(1)],
            args: [&[Arg::from(h), gate_up.into()][..], &self.tile_args(across, width, k)].concat(),
        }
    }

    /// Computes the transpose if that has fewer tiles.
    fn weight_gradient(self, dy: u64, x: u64) -> Plan {
        let ([n, k], (cols, stages)) = (self.shape, GRADIENT);
        let tiles = |[m, n]: [usize; 2]| [m.div_ceil(TILE), n.div_ceil(cols)];
        let count = |shape| tiles(shape).into_iter().product::<usize>();
        let transposed = count([k, n]) < count([n, k]);
        let (shape, factors) = if transposed { ([k, n], [x, dy]) } else { ([n, k], [dy, x]) };
        let [a, b] = [0, 1].map(|i| self.boxes(factors[i], shape[i], BOX));
        let blocks = (self.rows.experts * count(shape)).min(self.multiprocessors);
        let Stack { at, stride } = self.w;
        let sizes = [shape[0], shape[1], k].map(Arg::from);
        let [down, across] = tiles(shape).map(Arg::from);
        let rest = [self.rows.offsets.into(), self.rows.experts.into(), down, across];
        Plan {
            kernel: format!("experts_weight_gradient_sm90a{}", if transposed { "_transposed" } else { "" }),
            launch: Launch { grid: [blocks, 1], threads: THREADS, shared: stages * ((TILE + cols) * ROW + BARRIERS) },
            weights: None,
            boxes: vec![a, b],
            args: [&[Arg::from(at), Arg::long(stride)][..], &sizes, &rest].concat(),
        }
    }
}

impl Plan {
    /// Runs the product.
    pub(super) fn run(&self, gpu: &Gpu) -> Result<(), Error> {
        let weights = self.weights.iter().map(|&stack| gpu.stack_map(stack));
        let maps = weights.chain(self.boxes.iter().map(|&matrix| gpu.tensor_map(matrix)));
        let mut args = maps.map(|map| map.map(Arg::from)).collect::<Result<Vec<Arg>, Error>>()?;
        args.extend(&self.args);
        gpu.launch(&self.kernel, self.launch, &mut args)
    }
}
