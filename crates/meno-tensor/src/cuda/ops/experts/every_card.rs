//! The products of experts with the kernels for every card: plain ones, and those with mma.sync.

use super::matrices::{Matrices, Tables};
use super::product::{Product, Rows};
use crate::backend::Error;
use crate::cuda::driver::{Arg, Gpu, Launch, suffix};
use crate::tape::Dtype;

/// The rows of a tile.
pub(super) const TILE: usize = 64;
/// Columns of a block: of plain products, and on tensor cores.
const COLUMNS: [usize; 2] = [64, 128];
/// Shared memory of a product on tensor cores: three stages of 64 rows and 128 columns, 64 values of bf16 deep.
const SHARED: usize = 3 * (64 + 128) * 64 * 2;

/// The kernels for these rows.
#[derive(Clone, Copy)]
pub(super) struct EveryCard {
    pub(super) rows: Rows,
    /// The type of the rows.
    pub(super) dtype: Dtype,
    /// True if tensor cores multiply: the type is bf16, and the widths are multiples of 8.
    pub(super) tensor_cores: bool,
}

impl EveryCard {
    /// Computes a product.
    pub(super) fn run(self, gpu: &Gpu, product: Product, tables: Tables, w: Matrices) -> Result<(), Error> {
        let [n, k] = w.shape;
        match product {
            Product::Forward { y, x } => self.rows_product(gpu, "forward", [y, x], tables, w.dtype, [n, k]),
            Product::Swiglu { h, gate_up, read, x } => self.swiglu(gpu, [h, gate_up, x], read, tables, w),
            Product::InputGradient { dx, dy } => {
                self.rows_product(gpu, "input_gradient", [dx, dy], tables, w.dtype, [k, n])
            }
            Product::WeightGradient { dy, x } => self.weight_gradient(gpu, tables, [dy, x], [n, k]),
        }
    }

    /// Returns a launch of blocks for `columns` columns, with this size of the grid in y.
    fn blocks(self, columns: usize, y: usize) -> Launch {
        let width = COLUMNS[usize::from(self.tensor_cores)];
        match self.tensor_cores {
            true => Launch { grid: [columns.div_ceil(width), y], threads: 128, shared: SHARED },
            false => Launch { grid: [columns.div_ceil(width), y], threads: 256, shared: 0 },
        }
    }

    /// `kernel` is forward or input_gradient, `cols` the columns of y and of x.
    fn rows_product(
        self,
        gpu: &Gpu,
        kernel: &str,
        [y, x]: [u64; 2],
        Tables { first, second, split }: Tables,
        dtype: Dtype,
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
        let [n, k] = cols.map(Arg::from);
        let args = &mut [y.into(), x.into(), first.into(), second.into(), self.rows.tiles.into(), n, k, split.into()];
        gpu.launch(&name, self.blocks(cols[0], self.rows.most_tiles()), args)
    }

    fn swiglu(
        self,
        gpu: &Gpu,
        [h, gate_up, x]: [u64; 3],
        read: bool,
        tables: Tables,
        w: Matrices,
    ) -> Result<(), Error> {
        let [both, hidden] = w.shape;
        let width = both / 2;
        if !self.tensor_cores {
            self.rows_product(gpu, "forward", [gate_up, x], tables, w.dtype, [both, hidden])?;
            let name = format!("experts_swiglu_{}", suffix(self.dtype));
            let launch = Launch { grid: [self.rows.count, width.div_ceil(256)], threads: 256, shared: 0 };
            return gpu.launch(&name, launch, &mut [h.into(), gate_up.into(), width.into()]);
        }
        let gate_up = if read { gate_up } else { 0 };
        let [first, second, tiles] = [tables.first, tables.second, self.rows.tiles].map(Arg::from);
        let args = &mut [h.into(), gate_up.into(), x.into(), first, second, tiles, width.into(), hidden.into()];
        gpu.launch("experts_mma_swiglu", self.blocks(both, self.rows.most_tiles()), args)
    }

    /// `cols` are the columns of dy and of x.
    fn weight_gradient(
        self,
        gpu: &Gpu,
        Tables { first, second, split }: Tables,
        [dy, x]: [u64; 2],
        cols: [usize; 2],
    ) -> Result<(), Error> {
        let name = match self.tensor_cores {
            true => "experts_mma_weight_gradient".into(),
            false => format!("experts_weight_gradient_{}", suffix(self.dtype)),
        };
        let launch = self.blocks(cols[1], self.rows.experts);
        let [x_blocks, y_blocks] = launch.grid;
        let launch = Launch { grid: [x_blocks * cols[0].div_ceil(TILE), y_blocks], ..launch };
        let ([n, cols], offsets) = (cols.map(Arg::from), self.rows.offsets);
        let args = &mut [first.into(), second.into(), dy.into(), x.into(), offsets.into(), n, cols, split.into()];
        gpu.launch(&name, launch, args)
    }
}
