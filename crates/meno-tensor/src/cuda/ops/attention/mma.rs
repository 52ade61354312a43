//! Attention on the tensor cores of every card: widths, the rows of a batch, and the kernel for any number of queries.

use crate::cuda::context::Ctx;
use crate::cuda::driver::Launch;
use crate::ops::attention::Attention;
use crate::tape::Dtype;

/// The largest tile, in rows.
pub(super) const ROWS: usize = 64;

/// The widths (of keys, of values) that a kernel for tensor cores is compiled for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mma(pub(super) [usize; 2]);

impl Mma {
    /// Returns the kernel for heads of these widths, or `None` if one for every width must run.
    pub(super) fn of(op: &Attention, dtype: Dtype) -> Option<Mma> {
        let (qk, v) = (op.qk_dim, op.v_dim);
        if dtype != Dtype::Bf16 || !qk.is_multiple_of(16) || !v.is_multiple_of(16) {
            return None;
        }
        [[64, 64], [128, 128], [192, 128], [256, 256]].into_iter().find(|&[a, b]| qk <= a && v <= b).map(Mma)
    }
    /// Streamed rows of a block in backward.
    pub(super) fn streamed(self) -> usize {
        if self.0[0] == 256 { 32 } else { 64 }
    }
}

/// The queries of a batch. A key head's rows are the pairs of a query and a head of its group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queries {
    pub(super) queries: usize,
    pub(super) segments: usize,
    /// Queries of the longest segment.
    pub(super) longest: usize,
    /// Query heads that share a key head.
    pub(super) group: usize,
    pub(super) kv_heads: usize,
}

impl Queries {
    pub(super) fn of(op: &Attention, ctx: &Ctx) -> Queries {
        let longest = ctx.batch.segments.iter().map(|segment| segment.rows.len()).max().unwrap_or(0);
        let (segments, group) = (ctx.on_card.segments, op.rows_per_query());
        Queries { queries: ctx.rows, segments, longest, group, kv_heads: op.kv_heads }
    }
    /// Returns a grid for tiles of `size` rows: the most tiles that the segments have, and the key heads.
    pub(super) fn grid(self, size: usize) -> [usize; 2] {
        [self.queries * self.group / size + self.segments, self.kv_heads]
    }
}

/// A kernel and its launch.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    pub(super) name: String,
    pub(super) launch: Launch,
}

/// Returns how attention runs for any number of queries; `source` names where keys and values are.
pub(super) fn plan(Mma([qk, v]): Mma, source: &str, queries: Queries) -> Kernel {
    let (grid, shared) = (queries.grid(ROWS), 2 * (ROWS * qk + 64 * (qk + v)));
    let launch = Launch { grid, threads: 128, shared };
    Kernel { name: format!("attention_mma_{source}_{qk}_{v}"), launch }
}
