//! Runs of elements that one launch visits: the parameters of a network in blocks of fixed size.

use crate::cuda::driver::{Arg, Gpu, Launch, Memory};
use crate::error::Error;
use std::ops::Range;
use std::sync::Arc;

/// Threads of a block.
pub(super) const THREADS: u32 = 256;
/// Elements of a block of threads, as in the kernels.
pub(super) const BLOCK: usize = 4096;

/// Computes the square root of the sum of `n` f64 values.
pub(super) fn root_of_sum(gpu: &Gpu, root: u64, values: u64, n: usize) -> Result<(), Error> {
    gpu.launch("root_of_sum", Launch::blocks(1, 1024), &mut [root.into(), values.into(), Arg::long(n)])
}

/// Runs of elements, in a table on the card.
pub(super) struct Spans {
    /// Start, end, first block and flag of each: `long long[count][4]`.
    table: Memory,
    pub(super) count: usize,
    /// Blocks of all spans together.
    pub(super) blocks: usize,
}

impl Spans {
    /// Copies ranges to the card, each with its flag. Ranges start at multiples of 16, and only padding, which is zero,
    /// lies between neighbours: those with equal flags become one span.
    pub(super) fn new(gpu: &Arc<Gpu>, ranges: impl Iterator<Item = (Range<usize>, bool)>) -> Result<Spans, Error> {
        let mut spans: Vec<(Range<usize>, bool)> = Vec::new();
        for (range, flag) in ranges.filter(|(range, _)| !range.is_empty()) {
            match spans.last_mut() {
                Some((last, same)) if *same == flag && last.end.next_multiple_of(16) == range.start => {
                    last.end = range.end;
                }
                _ => spans.push((range, flag)),
            }
        }
        let (mut rows, mut blocks) = (Vec::with_capacity(spans.len()), 0);
        for (span, flag) in &spans {
            rows.push([span.start as i64, span.end as i64, blocks as i64, *flag as i64]);
            blocks += span.len().div_ceil(BLOCK);
        }
        let table = gpu.allocate(size_of_val(rows.as_slice()), "the places of parameters")?;
        table.write(0, &rows)?;
        Ok(Spans { table, count: spans.len(), blocks })
    }
    /// Returns the address of the table.
    pub(super) fn at(&self) -> u64 {
        self.table.at()
    }
}
