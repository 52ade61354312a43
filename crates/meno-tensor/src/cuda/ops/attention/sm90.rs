//! Attention on compute capability 9.0 (H100, H200), with TMA and wgmma: forward without a cache.
//!
//! The kernels have the bits of those for every card, so a plan decides speed alone.

pub(super) mod backward;
#[cfg(test)]
mod tests;

use crate::backend::Error;
use crate::cuda::context::{Ctx, Tensor};
use crate::cuda::driver::{Arg, Launch, MatrixBox};
use crate::ops::attention::Attention;
use crate::tape::Dtype;

/// Queries of a block, two warpgroups.
const QUERIES: usize = 128;
/// Keys of a block of the softmax.
const KEYS: usize = 64;
/// Blocks of keys and of values in shared memory.
const STAGES: usize = 3;
/// Bytes of barriers: one for the queries, two for each stage of keys and of values.
const BARRIERS: usize = 8 + 2 * STAGES * 16;
/// Threads of a block: one warpgroup loads, two multiply.
const THREADS: u32 = 384;
/// The most blocks in the second direction of a grid.
const GRID: usize = 65_535;

/// How attention runs.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    kernel: String,
    launch: Launch,
    /// q, k and v.
    boxes: [MatrixBox; 3],
}

/// The rows of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    pub(super) rows: usize,
    pub(super) segments: usize,
}

/// Returns how attention over new sequences runs on a card of compute capability 9.0. `inputs`: the heads of q, k and v
/// in activations. `None`: these kernels cannot, because of the widths, of the types, or of where the heads lie.
pub(super) fn plan(op: &Attention, inputs: [Tensor; 3], Rows { rows, segments }: Rows) -> Option<Plan> {
    let (qk, v) = (op.qk_dim, op.v_dim);
    // At least the tiles of all segments.
    let tiles = rows / QUERIES + segments;
    if !is_compiled(op) || !inputs.iter().all(in_boxes) || rows == 0 || tiles > GRID {
        return None;
    }
    let [q, k, values] = inputs;
    let shared = Dtype::Bf16.bytes() * (QUERIES * qk + STAGES * KEYS * (qk + v)) + BARRIERS;
    Some(Plan {
        kernel: format!("attention_sm90a_{qk}_{v}"),
        launch: Launch { grid: [op.heads, tiles], threads: THREADS, shared },
        boxes: [boxes(q, rows, QUERIES), boxes(k, rows, KEYS), boxes(values, rows, KEYS)],
    })
}

/// Returns true if there are kernels for the widths of the heads.
fn is_compiled(op: &Attention) -> bool {
    [[64, 64], [128, 128], [192, 128]].contains(&[op.qk_dim, op.v_dim])
}

/// Returns the boxes of `box_rows` rows of a matrix.
fn boxes(x: Tensor, rows: usize, box_rows: usize) -> MatrixBox {
    MatrixBox { at: x.at, rows, cols: x.cols, ld: x.ld, box_rows }
}

/// Returns true if TMA can copy boxes of these heads. A box may start at any column.
fn in_boxes(x: &Tensor) -> bool {
    x.dtype == Dtype::Bf16 && x.at.is_multiple_of(16) && x.ld.is_multiple_of(8)
}

impl Plan {
    /// Runs attention: writes o and the log-sum-exp.
    pub(super) fn run(&self, op: &Attention, ctx: &Ctx) -> Result<(), Error> {
        let maps = self.boxes.iter().map(|&matrix| ctx.gpu.tensor_map(matrix).map(Arg::from));
        let mut args = maps.collect::<Result<Vec<Arg>, Error>>()?;
        args.extend([ctx.act(op.out), ctx.act(op.lse)].map(Arg::from));
        args.extend([op.heads, op.rows_per_query()].map(Arg::from));
        args.extend([op.q, op.k, op.v].map(|view| Arg::from(view.head_stride)));
        let batch = ctx.on_card;
        args.extend([Arg::from(op.factor()), batch.segment_table().into(), batch.segments.into()]);
        ctx.gpu.launch(&self.kernel, self.launch, &mut args)
    }
}
