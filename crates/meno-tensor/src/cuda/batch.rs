//! The batch in the card's memory.

use super::driver::{Gpu, Memory};
use super::kv_store::CudaKvStore;
use super::sampling::Row;
use crate::backend::Error;
use crate::tape::{Batch, PageTable};
use std::sync::Arc;

/// The integers of a segment that kernels read.
const SEGMENT: usize = 4;

/// The batch on the card: tokens, positions, and the sequences of the rows.
pub(super) struct CudaBatch {
    memory: Memory,
    /// Offsets of the arrays in bytes.
    offsets: [usize; 6],
    /// Number of segments.
    pub(super) segments: usize,
}

impl CudaBatch {
    /// Allocates room for `rows` rows.
    pub(super) fn new(gpu: &Arc<Gpu>, rows: usize) -> Result<Self, Error> {
        let memory = gpu.allocate(rows * (3 + SEGMENT) * size_of::<i32>(), "the batch")?;
        Ok(CudaBatch { memory, offsets: [0; 6], segments: 0 })
    }

    /// Copies a batch to the card, and the pages of its sequences if they have a cache.
    pub(super) fn write(&mut self, batch: &Batch, table: Option<&PageTable>) -> Result<(), Error> {
        let (mut segments, mut pages, mut row_segments) = (Vec::new(), Vec::new(), Vec::new());
        for (i, s) in batch.segments.iter().enumerate() {
            segments.extend([s.rows.start, s.rows.len(), s.past, pages.len()].map(|n| n as u32));
            row_segments.extend(std::iter::repeat_n(i as u32, s.rows.len()));
            if let (Some(table), Some(slot)) = (table, s.slot) {
                pages.extend_from_slice(table.table(slot));
            }
        }
        self.segments = batch.segments.len();
        let sampled: Vec<Row> = batch.sampled_rows.iter().map(|(_, sampling)| Row::new(sampling)).collect();
        let arrays: [&[u32]; 6] =
            [&batch.tokens, &batch.positions, &row_segments, &segments, bytemuck::cast_slice(&sampled), &pages];
        let mut all: Vec<u32> = Vec::new();
        for (offset, array) in self.offsets.iter_mut().zip(arrays) {
            // Segments are read 16 bytes at a time.
            all.resize(all.len().next_multiple_of(4), 0);
            *offset = all.len() * size_of::<u32>();
            all.extend_from_slice(array);
        }
        let bytes = all.len() * size_of::<u32>();
        if bytes > self.memory.bytes() {
            self.memory = self.memory.gpu().allocate(bytes.next_power_of_two(), "the batch")?;
        }
        self.memory.write(0, &all)
    }

    fn array(&self, index: usize) -> u64 {
        self.memory.at() + self.offsets[index] as u64
    }
    /// Returns the token of each row, `int[rows]`.
    pub(super) fn tokens(&self) -> u64 {
        self.array(0)
    }
    /// Returns the position of each row, `int[rows]`.
    pub(super) fn positions(&self) -> u64 {
        self.array(1)
    }
    /// Returns the segment of each row, `int[rows]`.
    pub(super) fn row_segments(&self) -> u64 {
        self.array(2)
    }
    /// Returns, for each segment, its first row, its rows, its tokens in the cache and its first entry in
    /// [`CudaBatch::pages`]: `int4[segments]`.
    pub(super) fn segment_table(&self) -> u64 {
        self.array(3)
    }
    /// Returns how to sample [`Batch::sampled_rows`], `Row[]` of sampling.cu.
    pub(super) fn sampled_rows(&self) -> u64 {
        self.array(4)
    }
    /// Returns the pages of all segments, `int[]`.
    pub(super) fn pages(&self) -> u64 {
        self.array(5)
    }
}

/// The KV cache during a pass.
pub(super) struct Cache<'a> {
    pub(super) table: &'a PageTable,
    pub(super) store: &'a CudaKvStore,
}
