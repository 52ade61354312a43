//! A weight matrix in a ggml block type, laid out for the kernels, and its product with rows of activations.

use super::activations::{Activations, Layout, Tile};
use super::blocks::Blocks;
use super::format::{self, BlockFormat};
use super::job::{Job, LANES};
use super::kernel::Instructions;
use crate::cpu::HostBuffer;
use crate::cpu::gemm::{Mat, MatMut};
use crate::pool;
use crate::quant::GgmlType;
use rayon::prelude::*;
use std::cell::RefCell;

/// A matrix `[rows, cols]` of weights that stay quantized.
pub struct QuantMatrix {
    dtype: GgmlType,
    rows: usize,
    cols: usize,
    /// Blocks of sixteen rows: the blocks of the first sixteen rows in the order of k, then those of the next sixteen.
    data: HostBuffer,
}

/// Expands the body with `$F` as the format of `$dtype`.
macro_rules! with_format {
    ($dtype:expr, $F:ident => $body:expr) => {
        with_format!($dtype, $F => $body, Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K Iq4_NL Iq4_XS Mxfp4)
    };
    ($dtype:expr, $F:ident => $body:expr, $($name:ident)*) => {
        match $dtype {
            GgmlType::F32 | GgmlType::F16 | GgmlType::Bf16 => panic!("invariant: {:?} is not a block type", $dtype),
            $(GgmlType::$name => {
                type $F = format::$name;
                $body
            })*
        }
    };
}

fn layout(dtype: GgmlType) -> Layout {
    with_format!(dtype, F => F::LAYOUT)
}

impl QuantMatrix {
    /// Lays out `data`, which holds the rows of a file in sequence. Row r of the matrix is row `source(r)` of the file.
    ///
    /// # Panics
    /// Panics if the length of `data` does not fit such a matrix, or if a row is not a multiple of the block size.
    pub fn new(
        dtype: GgmlType,
        rows: usize,
        cols: usize,
        data: &[u8],
        source: &(dyn Fn(usize) -> usize + Sync),
    ) -> Self {
        let blocks = cols / dtype.block_elements();
        let row_bytes = blocks * dtype.block_bytes();
        assert!(cols.is_multiple_of(dtype.block_elements()), "invariant: a row of {cols} is whole blocks");
        assert!(data.len() == rows * row_bytes, "invariant: {} bytes are {rows} rows of {row_bytes}", data.len());
        let row = |r: usize| (r < rows).then(|| &data[source(r) * row_bytes..][..row_bytes]);
        let data = with_format!(dtype, F => repack::<F>(rows, blocks, row));
        QuantMatrix { dtype, rows, cols, data }
    }

    /// Returns the block type.
    pub fn dtype(&self) -> GgmlType {
        self.dtype
    }

    /// Returns rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        [self.rows, self.cols]
    }

    /// Returns the size in memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.data.len() * 4
    }

    /// Dequantizes row `r`: the file's values, bit for bit.
    pub fn row(&self, r: usize, out: &mut [f32]) {
        assert!(r < self.rows && out.len() == self.cols, "invariant: row {r} of {}", self.rows);
        let data: &[u8] = bytemuck::cast_slice(&self.data);
        with_format!(self.dtype, F => {
            let blocks = self.cols / F::VALUES;
            let group = &data[r / LANES * blocks * F::BYTES..][..blocks * F::BYTES];
            for (block, out) in group.chunks_exact(F::BYTES).zip(out.chunks_exact_mut(F::VALUES)) {
                F::values(block, r % LANES, out);
            }
        });
    }

    /// Computes y = x · selfᵀ, or y += x · selfᵀ. x is rounded to 8 bits per value with a scale per 32 or 256 values;
    /// sums within these are exact. A row of y depends only on the same row of x.
    pub fn multiply(&self, x: Mat, accumulate: bool, y: MatMut) {
        self.multiply_with(Instructions::best(), x, accumulate, y);
    }

    fn multiply_with(&self, instructions: Instructions, x: Mat, accumulate: bool, y: MatMut) {
        assert!(x.cols == self.cols && y.rows == x.rows && y.cols == self.rows, "invariant: shapes agree");
        if x.rows == 0 {
            return;
        }
        thread_local! { static MEMORY: RefCell<Vec<(Activations, Vec<Tile>)>> = const { RefCell::new(Vec::new()) }; }
        // While a task waits for others, its thread may run another product: each call takes its own memory.
        let (mut activations, mut tiles) = MEMORY.with_borrow_mut(|m| m.pop()).unwrap_or_default();
        let (layout, tile) = (layout(self.dtype), instructions.tile(x.rows));
        activations.quantize(x, layout, tile);
        tiles.extend(activations.tiles(x.rows, self.cols, layout, tile));
        with_format!(self.dtype, F => {
            let job = Job {
                weights: self.data.as_ptr().cast(),
                blocks: self.cols / F::VALUES,
                outputs: self.rows,
                rows: x.rows,
                tile,
                tiles: &tiles,
                y: y.data.as_mut_ptr(),
                ld: y.ld,
                accumulate,
            };
            let groups = self.rows.div_ceil(LANES);
            let per_task = groups.div_ceil(tasks(x.rows));
            pool::for_each(groups.div_ceil(per_task), |task| {
                let range = task * per_task..groups.min((task + 1) * per_task);
                // SAFETY: these instructions are available; sizes were checked here and in `new`, and tasks have
                // different groups, which are different columns of y.
                unsafe { instructions.multiply::<F>(&job, range) };
            });
        });
        tiles.clear();
        MEMORY.with_borrow_mut(|m| m.push((activations, tiles)));
    }
}

/// Returns the number of tasks of a product: a few per thread if a task is large enough.
fn tasks(rows: usize) -> usize {
    match pool::threads() {
        1 => 1,
        n if rows < 8 => n,
        n => 4 * n,
    }
}

/// Packs blocks of sixteen rows from rows of the file (`None` past the last).
fn repack<'a, F: Blocks>(rows: usize, blocks: usize, row: impl Fn(usize) -> Option<&'a [u8]> + Sync) -> HostBuffer {
    let group_bytes = blocks * F::BYTES;
    let mut data = HostBuffer::zeroed(rows.div_ceil(LANES) * group_bytes / 4);
    data.par_chunks_mut((group_bytes / 4).max(1)).enumerate().for_each(|(g, group)| {
        for lane in 0..LANES {
            let Some(row) = row(g * LANES + lane) else { return };
            let out: &mut [u8] = bytemuck::cast_slice_mut(&mut *group);
            for (block, out) in row.chunks_exact(F::FILE_BYTES).zip(out.chunks_exact_mut(F::BYTES)) {
                F::scales(block, lane, out);
                for w in 0..F::WORDS {
                    out[F::CODES + 64 * w + 4 * lane..][..4].copy_from_slice(&F::word(block, w).to_le_bytes());
                }
            }
        }
    });
    data
}

#[cfg(test)]
mod tests;
