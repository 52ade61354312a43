//! Work on rows, spread over the threads, and sums over rows.
//!
//! The result for a row depends on that row only. A sum over rows is taken in the order of the rows for any number of
//! threads, because the work is split by columns.

use crate::cpu::row_kernels::{LANES, axpy};
use crate::pool;

/// Rows of `cols` values in one task: enough to be worth the cost of a task.
pub(crate) fn task_rows(cols: usize) -> usize {
    (16384 / cols.max(1)).max(1)
}

/// Calls `f(row, values)` for every row of `data`.
pub(crate) fn for_rows(data: &mut [f32], cols: usize, f: impl Fn(usize, &mut [f32]) + Sync + Send) {
    let rows = task_rows(cols);
    pool::for_chunks(data, rows * cols, |task, chunk| {
        for (i, row) in chunk.chunks_exact_mut(cols).enumerate() {
            f(task * rows + i, row);
        }
    });
}

/// Computes `sums[j] += Σ_r f(r, j)`, rows in order. `add(r, columns, sums)` adds row r's values of some columns.
pub(crate) fn column_sums(
    sums: &mut [f32],
    rows: usize,
    add: impl Fn(usize, std::ops::Range<usize>, &mut [f32]) + Sync + Send,
) {
    let width = sums.len().div_ceil(pool::threads()).next_multiple_of(LANES);
    pool::for_chunks(sums, width.max(1), |task, sums| {
        let start = task * width;
        for r in 0..rows {
            add(r, start..start + sums.len(), sums);
        }
    });
}

/// Adds the sum of the rows of `x` to `sums` (the gradient of a bias).
pub(crate) fn add_rows(sums: &mut [f32], x: &[f32], ld: usize) {
    column_sums(sums, x.len().div_ceil(ld), |r, columns, sums| axpy(1.0, &x[r * ld..][columns], sums));
}
