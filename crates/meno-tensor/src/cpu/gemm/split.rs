//! Splits the elements of C between threads: by blocks of rows, and by columns if there are few rows.

use super::layout::PANEL;
use crate::pool;
use std::ops::Range;

/// A grid of tasks over C, as equal as whole tiles allow.
#[derive(Clone, Copy)]
pub(super) struct Split {
    m: usize,
    n: usize,
    /// Rows of a tile; a block of rows is a multiple of it.
    tile: usize,
    blocks: usize,
    columns: usize,
}

impl Split {
    /// Plans tasks of at most `most` rows (a multiple of `tile`), and as many tasks as threads if C is large enough.
    pub(super) fn new(m: usize, n: usize, most: usize, tile: usize) -> Self {
        let threads = pool::threads();
        let blocks = m.div_ceil(most).next_multiple_of(threads).min(m.div_ceil(tile));
        let parts = threads.div_ceil(blocks);
        Split { m, n, tile, blocks, columns: n.div_ceil(parts).next_multiple_of(PANEL) }
    }

    fn parts(&self) -> usize {
        self.n.div_ceil(self.columns)
    }

    /// Returns the number of tasks.
    pub(super) fn tasks(&self) -> usize {
        self.blocks * self.parts()
    }

    /// Returns the rows and columns of a task.
    pub(super) fn task(&self, task: usize) -> (Range<usize>, Range<usize>) {
        let (block, j) = (task / self.parts(), task % self.parts() * self.columns);
        let start = |block: usize| (block * self.m.div_ceil(self.tile) / self.blocks * self.tile).min(self.m);
        (start(block)..start(block + 1), j..self.n.min(j + self.columns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_once() {
        for (m, n) in [(1, 1), (1, 700), (13, 64), (33, 31), (512, 96), (2048, 33)] {
            for threads in [1, 2, 5] {
                pool::with_threads(threads, || {
                    let split = Split::new(m, n, 196, 14);
                    let mut seen = vec![0; m * n];
                    for task in 0..split.tasks() {
                        let (rows, columns) = split.task(task);
                        assert!((1..=196).contains(&rows.len()) && !columns.is_empty(), "{m}×{n} on {threads}");
                        rows.for_each(|i| columns.clone().for_each(|j| seen[i * n + j] += 1));
                    }
                    assert!(seen.iter().all(|&s| s == 1), "{m}×{n} on {threads}");
                });
            }
        }
    }
}
