//! Experts whose matrices stay quantized ([`crate::cuda::blocks`]), for inference.
//!
//! Rows of bf16 are multiplied with the blocks; a result has the bits of the product with the dense matrix. For what no
//! kernel multiplies (rows of f32; gate in blocks and up dense), the matrices of all experts are first written in bf16 to
//! scratch memory.

#[cfg(test)]
mod tests;

use super::{Matrices, Pass, TILE};
use crate::backend::Error;
use crate::cuda::blocks::{Format, TILE_ROWS};
use crate::cuda::context::{Ctx, Weight};
use crate::cuda::driver::{Arg, Launch};
use crate::ops::experts::{Expert, Experts};
use crate::tape::{Dtype, Param};
use std::collections::HashMap;

/// Stages of the kernels, and the rows of x in a piece, as in experts_quant.cu.
const STAGES: usize = 6;
const PIECE: usize = 16;
/// Warps that keep a large card busy: 16 for each of the 132 multiprocessors of an H100. Tests have fewer.
const BUSY: usize = if cfg!(test) { 32 } else { 16 * 132 };

/// A matrix of every expert, in blocks of one type.
#[derive(Clone, Copy, Debug)]
struct Stack {
    format: &'static Format,
    /// The address of an array of the matrices' addresses.
    table: u64,
}

/// Returns true if there are quantized matrices.
pub(super) fn has_blocks(op: &Experts, ctx: &Ctx) -> bool {
    let mut matrices = op.experts.iter().flat_map(|e| [e.gate, e.up, e.down]);
    matrices.any(|p| ctx.weights.blocks(p).is_some())
}

/// Runs the op's forward pass.
pub(super) fn forward(op: &Experts, ctx: &mut Ctx) -> Result<(), Error> {
    let pass = Pass::new(op, ctx);
    let [x, y] = [op.sorted.rows, op.y].map(|act| ctx.act(act).at);
    let tiles = pass.tiles(ctx)?;
    let h = match (pass.stack(ctx, |e| e.gate)?, pass.stack(ctx, |e| e.up)?) {
        (Some(gate), Some(up)) => pass.hidden_from_blocks(ctx, x, tiles, [gate, up])?,
        _ => {
            let [gate_up, _] = pass.dequantized(ctx, &[|e| e.gate, |e| e.up])?;
            pass.hidden(ctx, x, tiles, gate_up)?
        }
    };
    match pass.stack(ctx, |e| e.down)? {
        Some(down) => {
            pass.product_with_blocks(ctx, [y, h, tiles], down, [op.sorted.hidden, op.width], op.sorted.hidden)
        }
        None => {
            let [_, down] = pass.dequantized(ctx, &[|e| e.down])?;
            pass.rows_product(ctx, "forward", [y, h, tiles], down, [op.sorted.hidden, op.width])
        }
    }
}

/// Returns a matrix of an expert.
type Of = fn(&Expert) -> Param;

impl Pass<'_> {
    /// Returns a matrix of all experts, if the kernels multiply it as it is stored.
    fn stack(&self, ctx: &Ctx, of: Of) -> Result<Option<Stack>, Error> {
        let all: Option<Vec<_>> = self.op.experts.iter().map(|expert| ctx.weights.blocks(of(expert))).collect();
        let Some(all) = all.filter(|all| self.tensor_cores && all.iter().all(|w| w.format == all[0].format)) else {
            return Ok(None);
        };
        let addresses: Vec<u64> = all.iter().map(|w| w.at()).collect();
        Ok(Some(Stack { format: all[0].format, table: ctx.constants(&addresses)? }))
    }

    /// Returns dense matrices as [`Pass::weights`] does, of which only these are valid. Those in blocks are written to
    /// scratch memory.
    fn dequantized(&self, ctx: &mut Ctx, valid: &[Of]) -> Result<[(Matrices, Dtype); 2], Error> {
        let mut written = HashMap::new();
        for p in valid.iter().flat_map(|of| self.op.experts.iter().map(of)) {
            if let Some(w) = ctx.weights.blocks(p) {
                let dense = ctx.temporary(w.rows, w.cols, Dtype::Bf16)?;
                w.dequantize(ctx.gpu, dense.at, dense.ld)?;
                written.insert(p, dense.at);
            }
        }
        self.matrices(ctx, |ctx, p| match ctx.matrix(p) {
            Weight::Dense(matrix) => (matrix.at, matrix.dtype),
            Weight::Blocks(_) => (written.get(&p).copied().unwrap_or(0), Dtype::Bf16),
        })
    }

    /// Computes h = silu(gate) ⊙ up; returns it.
    fn hidden_from_blocks(&self, ctx: &Ctx, x: u64, tiles: u64, [gate, up]: [Stack; 2]) -> Result<u64, Error> {
        let (hidden, width) = (self.op.sorted.hidden, self.op.width);
        let h = ctx.temporary(self.rows, width, Dtype::Bf16)?.at;
        if gate.format != up.format {
            let gate_up = ctx.act(self.op.gate_up);
            for (i, w) in [gate, up].into_iter().enumerate() {
                let to = gate_up.columns(i * width, width);
                self.product_with_blocks(ctx, [to.at, x, tiles], w, [width, hidden], to.ld)?;
            }
            self.swiglu(ctx, h, gate_up.at)?;
            return Ok(h);
        }
        let launch = plan(gate.format, 2 * width.div_ceil(TILE_ROWS), ctx.rows, self.most_tiles());
        let [n, k] = [width, hidden].map(Arg::from);
        let args = [h.into(), x.into(), gate.table.into(), up.table.into(), tiles.into(), n, k];
        ctx.launch(&format!("experts_quant_swiglu_{}", gate.format.name), launch, args)?;
        Ok(h)
    }

    /// y = x · wᵀ; `cols` are the columns of y and of x, and rows of y start `ld` elements apart.
    fn product_with_blocks(
        &self,
        ctx: &Ctx,
        [y, x, tiles]: [u64; 3],
        w: Stack,
        cols: [usize; 2],
        ld: usize,
    ) -> Result<(), Error> {
        let launch = plan(w.format, cols[0].div_ceil(TILE_ROWS), ctx.rows, self.most_tiles());
        let [n, k] = cols.map(Arg::from);
        let args = [y.into(), x.into(), w.table.into(), tiles.into(), n, k, ld.into()];
        ctx.launch(&format!("experts_quant_forward_{}", w.format.name), launch, args)
    }
}

/// Returns the launch for strips of 16 rows of each matrix and tiles of the rows of this many tokens. An expert has at
/// most one row of a token.
fn plan(format: &Format, strips: usize, tokens: usize, tiles: usize) -> Launch {
    // Many warps share the rows of x where there is work for all of the card. Gate and up take two.
    let warps = if strips * tiles < BUSY { 2 } else { 8 };
    let stage = tokens.min(TILE).next_multiple_of(PIECE) * 128 + (warps * format.stage()).next_multiple_of(128);
    Launch { grid: [strips.div_ceil(warps), tiles], threads: 32 * warps as u32, shared: STAGES * stage }
}
