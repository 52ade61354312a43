//! Attention of few queries of each sequence over the cache: a step of decoding, drafts, a short chunk of a prompt.
//!
//! These kernels have the bits of those for many queries, so the number of rows may decide which ones run.

#[cfg(test)]
mod tests;

use super::mma::{Kernel, Mma, Queries};
use crate::cuda::driver::Launch;

/// Rows of a block.
const ROWS: usize = 16;
/// Warps of a block that compute scores.
const SCORE_WARPS: usize = 4;
/// Bytes of shared memory of a block: all that compute capabilities 8.6 and 8.9 have. Two blocks fit an H100.
const SHARED: usize = 99 << 10;

/// Returns how attention over pages of a type runs, if its rows are few.
///
/// Each block of 16 rows reads all keys, and takes less time for them than a tile of the kernels for many queries. So
/// several blocks for one sequence are faster as long as no two of them share a multiprocessor.
pub(super) fn plan(Mma([qk, v]): Mma, pages: &str, queries: Queries, multiprocessors: usize) -> Option<Kernel> {
    let grid = queries.grid(ROWS);
    let few = queries.longest * queries.group <= ROWS || grid[0] * grid[1] <= multiprocessors;
    // A warp has 32 columns of the values, or 64 if they are 256.
    let value_warps = (v / 32).min(4);
    few.then(|| Kernel {
        name: format!("attention_decode_{pages}_{qk}_{v}"),
        launch: Launch { grid, threads: 32 * (SCORE_WARPS + value_warps) as u32, shared: SHARED },
    })
}
