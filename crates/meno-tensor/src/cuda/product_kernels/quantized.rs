//! Products with quantized matrices, which have the bits of the product with the dequantized matrix in bf16.

use super::plan::{BUSY, FEW};
use super::{ALIGN, rounded, temporary};
use crate::backend::Error;
use crate::cuda::blocks::{Blocks, Format, TILE_ROWS};
use crate::cuda::context::Scratch;
use crate::cuda::driver::{Arg, Gpu, Launch};
use crate::cuda::product::{Factor, Product};
use crate::precision::Precision;
use crate::tape::Dtype;

/// Memory for dequantized rows in bytes. Tests have several parts.
const PART_BYTES: usize = if cfg!(test) { 1 << 15 } else { 256 << 20 };

/// Rows of x and stages of each kernel, as in gemm_quant.cu.
const KERNELS: [(usize, usize); 3] = [(8, 12), (32, 8), (64, 6)];

impl Product {
    /// Runs the product with w, whose transpose is b.
    pub(super) fn launch_quantized(self, w: Blocks, gpu: &Gpu, scratch: Option<&mut Scratch>) -> Result<(), Error> {
        let Product { mut a, shape: [m, n, k], .. } = self;
        assert!([n, k] == [w.rows, w.cols] && !a.transposed, "invariant: a product x · wᵀ");
        let scratch = scratch.expect("invariant: quantized matrices are multiplied in a pass");
        if self.precision == Precision::F32 {
            return self.launch_in_parts(w, gpu, scratch);
        }
        a.matrix = rounded(gpu, Some(scratch), a.matrix, [m, k])?;
        let product = Product { a, ..self };
        if m <= FEW { product.launch_few(w, gpu) } else { product.launch_in_parts(w, gpu, scratch) }
    }

    /// Dequantizes and multiplies some rows of w at a time.
    fn launch_in_parts(self, w: Blocks, gpu: &Gpu, scratch: &mut Scratch) -> Result<(), Error> {
        let Product { y, shape: [m, n, k], bias, residual, .. } = self;
        let ld = k.next_multiple_of(ALIGN / Dtype::Bf16.bytes());
        let most = (PART_BYTES / (ld * Dtype::Bf16.bytes()) / 16 * 16).clamp(16, n.next_multiple_of(16));
        let dense = temporary(Some(scratch), most, k, ld, Dtype::Bf16)?;
        for start in (0..n).step_by(most) {
            let end = (start + most).min(n);
            let columns = |at: u64| if at == 0 { 0 } else { at + (start * size_of::<f32>()) as u64 };
            w.part(start..end).dequantize(gpu, dense.at, dense.ld)?;
            let part = Product {
                b: Factor::transposed(dense),
                blocks: None,
                y: y.columns(start, end - start),
                shape: [m, end - start, k],
                bias: columns(bias),
                residual: columns(residual),
                ..self
            };
            part.launch(gpu, Some(scratch))?;
        }
        Ok(())
    }

    /// Multiplies at most [`FEW`] aligned bf16 rows, with the kernels that read the blocks.
    fn launch_few(self, w: Blocks, gpu: &Gpu) -> Result<(), Error> {
        let Product { a, y, shape: [m, n, k], bias, residual, add, .. } = self;
        let (rows, launch) = plan(w.format, [m, n]);
        let [records, supers, chunks] = w.args();
        let [m, n, k, ldx, ldy] = [m, n, k, a.matrix.ld, y.ld].map(Arg::from);
        let (y_at, x) = (y.into(), a.matrix.into());
        let args = &mut [y_at, x, records, supers, m, n, k, chunks, ldx, ldy, bias.into(), residual.into(), add.into()];
        gpu.launch(&format!("gemm_quant_{rows}_{}_{}", w.format.name, y.suffix()), launch, args)
    }
}

/// Returns the rows of the kernel for m rows of x and n of w, and its launch.
pub(super) fn plan(format: &Format, [m, n]: [usize; 2]) -> (usize, Launch) {
    let kernel = KERNELS.into_iter().find(|&(rows, _)| m <= rows);
    let (rows, stages) = kernel.expect("invariant: the last kernel has all few rows");
    // A warp by itself for matrices with few rows; four that share the rows of x where they fill a card.
    let tiles = n.div_ceil(TILE_ROWS);
    let warps = if tiles < 4 * BUSY { 1 } else { 4 };
    let stage = rows * 128 + (warps * format.stage()).next_multiple_of(128);
    let launch = Launch { grid: [tiles.div_ceil(warps), 1], threads: 32 * warps as u32, shared: stages * stage };
    (rows, launch)
}
