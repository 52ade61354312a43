//! Attention's gradients on compute capability 9.0 (H100, H200), with TMA and wgmma: one kernel for dq, one for dk and
//! dv.

#[cfg(test)]
mod tests;

use super::{GRID, KEYS, Rows, THREADS, boxes, in_boxes, is_compiled};
use crate::backend::Error;
use crate::cuda::context::{Ctx, Tensor};
use crate::cuda::driver::{Arg, Launch, MatrixBox};
use crate::ops::attention::Attention;
use crate::tape::Dtype;

/// Queries of a block for dq, keys of a block for dk and dv: two warpgroups.
const BLOCK_ROWS: usize = 128;

/// Where the operands and the results are.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Places {
    /// The heads of q, k and v in activations.
    pub(in super::super) inputs: [Tensor; 3],
    /// The gradient of o.
    pub(in super::super) dout: Tensor,
    /// The heads of dq, dk and dv in gradients of activations, and whether to add to them.
    pub(in super::super) to: [(Tensor, bool); 3],
}

/// How the gradients are computed.
#[derive(Clone, Debug)]
pub(in super::super) struct Plan {
    dq: Kernel,
    dk_dv: Kernel,
}

/// A launch.
#[derive(Clone, Debug)]
struct Kernel {
    name: String,
    launch: Launch,
    /// q, k, v and the gradient of o.
    boxes: [MatrixBox; 4],
    /// The gradients that it writes or adds to.
    to: Vec<(Tensor, bool)>,
}

/// Returns how attention's gradients are computed on a card of compute capability 9.0. `None`: these kernels cannot,
/// because of the widths, of the types, or of where the matrices lie.
pub(in super::super) fn plan(op: &Attention, places: Places, batch: Rows) -> Option<Plan> {
    let Places { inputs: [q, k, v], dout, to } = places;
    let strides = [op.q, op.k, op.v].map(|view| view.head_stride);
    let stored = to.iter().zip(strides).all(|((to, _), stride)| in_pairs(to, stride));
    // At least the tiles of all segments.
    let tiles = batch.rows / BLOCK_ROWS + batch.segments;
    if !is_compiled(op) || ![q, k, v, dout].iter().all(in_boxes) || !stored || batch.rows == 0 || tiles > GRID {
        return None;
    }
    let widths = op.qk_dim + op.v_dim;
    let name = |gradients: &str| format!("attention_sm90a_{gradients}_{}_{}", op.qk_dim, op.v_dim);
    // Rows of q and the gradient of o, and rows of k and v.
    let all_boxes = |queries, keys| {
        [(q, queries), (k, keys), (v, keys), (dout, queries)].map(|(x, box_rows)| boxes(x, batch.rows, box_rows))
    };
    // A block has `BLOCK_ROWS` rows, and a ring of `stages` buffers of `streamed` rows with `extra` bytes each. There
    // is a barrier for the rows of the block, and two for each buffer.
    let launch = |heads, streamed: usize, stages: usize, extra: usize| Launch {
        grid: [heads, tiles],
        threads: THREADS,
        shared: Dtype::Bf16.bytes() * (BLOCK_ROWS + stages * streamed) * widths + stages * (streamed * extra + 16) + 8,
    };
    let (key_stages, query_stages) = (if op.qk_dim == 64 { 4 } else { 3 }, if op.qk_dim == 128 { 3 } else { 4 });
    let queries = if op.qk_dim == 192 { 32 } else { 64 };
    let [dq, dk, dv] = to;
    Some(Plan {
        dq: Kernel {
            name: name("dq"),
            launch: launch(op.heads, KEYS, key_stages, 0),
            boxes: all_boxes(BLOCK_ROWS, KEYS),
            to: vec![dq],
        },
        dk_dv: Kernel {
            name: name("dk_dv"),
            // The log-sum-exp and o·do of each query.
            launch: launch(op.kv_heads, queries, query_stages, 2 * Dtype::F32.bytes()),
            boxes: all_boxes(queries, BLOCK_ROWS),
            to: vec![dk, dv],
        },
    })
}

/// Returns true if the heads of a gradient can be written in pairs of columns.
fn in_pairs(x: &Tensor, stride: usize) -> bool {
    x.dtype == Dtype::Bf16 && x.at.is_multiple_of(4) && x.ld.is_multiple_of(2) && stride.is_multiple_of(2)
}

impl Plan {
    /// Computes the gradients. `delta`: o·do for every row and head.
    pub(in super::super) fn run(&self, op: &Attention, ctx: &Ctx, delta: Tensor) -> Result<(), Error> {
        self.dq.run(op, ctx, delta)?;
        self.dk_dv.run(op, ctx, delta)
    }
}

impl Kernel {
    fn run(&self, op: &Attention, ctx: &Ctx, delta: Tensor) -> Result<(), Error> {
        let maps = self.boxes.iter().map(|&matrix| ctx.gpu.tensor_map(matrix).map(Arg::from));
        let mut args = maps.collect::<Result<Vec<Arg>, Error>>()?;
        args.extend([ctx.act(op.lse), delta].map(Arg::from));
        args.extend([op.heads, op.rows_per_query()].map(Arg::from));
        args.extend([op.q, op.k, op.v].map(|view| Arg::from(view.head_stride)));
        args.extend([op.factor(), op.scale].map(Arg::from));
        args.extend([Arg::from(ctx.on_card.segment_table()), ctx.on_card.segments.into()]);
        for &(to, add) in &self.to {
            args.extend([Arg::from(to), to.ld.into(), add.into()]);
        }
        ctx.gpu.launch(&self.name, self.launch, &mut args)
    }
}
