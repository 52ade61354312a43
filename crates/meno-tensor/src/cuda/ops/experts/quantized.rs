//! Experts whose matrices stay quantized ([`crate::cuda::blocks`]), for inference.
//!
//! Rows of bf16 are multiplied with the blocks; a result has the bits of the product with the dense matrix. What no
//! kernel multiplies (rows of f32; gate in blocks and up dense) is first written in bf16 to scratch memory.

#[cfg(test)]
mod tests;

use super::every_card::{TILE, swiglu_of_rows};
use super::pass::{Pass, rows};
use super::product::{Product, Rows};
use crate::backend::Error;
use crate::cuda::blocks::{Blocks, Format, TILE_ROWS};
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

/// Returns a matrix of an expert.
type Of = fn(&Expert) -> Param;

/// Returns true if there are quantized matrices.
pub(super) fn has_blocks(op: &Experts, ctx: &Ctx) -> bool {
    let mut matrices = op.experts.iter().flat_map(|e| [e.gate, e.up, e.down]);
    matrices.any(|p| ctx.weights.blocks(p).is_some())
}

/// Runs the op's forward pass.
pub(super) fn forward(op: &Experts, ctx: &mut Ctx) -> Result<(), Error> {
    let [x, y, gate_up] = [op.sorted.rows, op.y, op.gate_up].map(|act| ctx.act(act).at);
    let rows = rows(op, ctx, TILE)?;
    let h = ctx.temporary(rows.count, op.width, ctx.dtype())?.at;
    match (Stack::find(op, ctx, |e| e.gate)?, Stack::find(op, ctx, |e| e.up)?) {
        (Some(gate), Some(up)) => swiglu(op, ctx, &rows, [h, x], [gate, up])?,
        _ => {
            let pass = dequantized(op, ctx, &[|e| e.gate, |e| e.up])?;
            pass.run(ctx, Product::Swiglu { h, gate_up, read: false, x }, pass.weights[0])?;
        }
    }
    match Stack::find(op, ctx, |e| e.down)? {
        Some(down) => down.product(ctx, &rows, [y, h], [op.sorted.hidden, op.width], op.sorted.hidden),
        None => {
            let pass = dequantized(op, ctx, &[|e| e.down])?;
            pass.run(ctx, Product::Forward { y, x: h }, pass.weights[1])
        }
    }
}

/// Returns the pass with dense matrices, of which only these are valid. Those in blocks are written to scratch memory.
fn dequantized<'a>(op: &'a Experts, ctx: &Ctx, valid: &[Of]) -> Result<Pass<'a>, Error> {
    let mut written = HashMap::new();
    for p in valid.iter().flat_map(|of| op.experts.iter().map(of)) {
        if let Some(w) = ctx.weights.blocks(p) {
            let dense = ctx.temporary(w.rows, w.cols, Dtype::Bf16)?;
            w.dequantize(ctx.gpu, dense.at, dense.ld)?;
            written.insert(p, dense.at);
        }
    }
    Pass::new(op, ctx, |p| match ctx.matrix(p) {
        Weight::Dense(matrix) => (matrix.at, matrix.dtype),
        Weight::Blocks(_) => (written.get(&p).copied().unwrap_or(0), Dtype::Bf16),
    })
}

/// h = silu(gate) ⊙ up.
fn swiglu(op: &Experts, ctx: &Ctx, rows: &Rows, [h, x]: [u64; 2], [gate, up]: [Stack; 2]) -> Result<(), Error> {
    let (hidden, width) = (op.sorted.hidden, op.width);
    if gate.format != up.format {
        let gate_up = ctx.act(op.gate_up).at;
        for (i, w) in [gate, up].into_iter().enumerate() {
            let to = gate_up + (i * width * Dtype::Bf16.bytes()) as u64;
            w.product(ctx, rows, [to, x], [width, hidden], 2 * width)?;
        }
        return swiglu_of_rows(ctx.gpu, [h, gate_up], [rows.count, width], Dtype::Bf16);
    }
    let launch = plan(gate.format, 2 * width.div_ceil(TILE_ROWS), ctx.rows, rows.most_tiles());
    let [n, k] = [width, hidden].map(Arg::from);
    let args = [h.into(), x.into(), gate.table.into(), up.table.into(), rows.tiles.into(), n, k];
    ctx.launch(&format!("experts_quant_swiglu_{}", gate.format.name), launch, args)
}

/// A matrix of every expert, in blocks of one type.
#[derive(Clone, Copy, Debug)]
struct Stack {
    format: &'static Format,
    /// The address of an array of the matrices' addresses.
    table: u64,
}

impl Stack {
    /// Returns a matrix of all experts, if the kernels multiply it as it is stored.
    fn find(op: &Experts, ctx: &Ctx, of: Of) -> Result<Option<Stack>, Error> {
        let all: Option<Vec<_>> = op.experts.iter().map(|expert| ctx.weights.blocks(of(expert))).collect();
        let one_type = |all: &Vec<Blocks>| all.iter().all(|w| w.format == all[0].format);
        let Some(all) = all.filter(|all| ctx.dtype() == Dtype::Bf16 && one_type(all)) else { return Ok(None) };
        let addresses: Vec<u64> = all.iter().map(Blocks::at).collect();
        Ok(Some(Stack { format: all[0].format, table: ctx.constants(&addresses)? }))
    }

    /// y = x · wᵀ; `cols` are the columns of y and of x, and rows of y start `ld` elements apart.
    fn product(self, ctx: &Ctx, rows: &Rows, [y, x]: [u64; 2], cols: [usize; 2], ld: usize) -> Result<(), Error> {
        let launch = plan(self.format, cols[0].div_ceil(TILE_ROWS), ctx.rows, rows.most_tiles());
        let [n, k] = cols.map(Arg::from);
        let args = [y.into(), x.into(), self.table.into(), rows.tiles.into(), n, k, ld.into()];
        ctx.launch(&format!("experts_quant_forward_{}", self.format.name), launch, args)
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
