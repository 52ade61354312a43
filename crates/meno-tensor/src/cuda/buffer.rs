//! A vector of f32 in the card's memory. `weights.rs` implements [`crate::backend::Buffer`] for it, because a buffer
//! mixes with weights.

use super::driver::{Gpu, Memory};
use crate::backend::Error;
use std::ops::Range;
use std::sync::Arc;

/// A vector of f32 on the card.
pub(super) struct CudaBuffer {
    pub(super) memory: Memory,
    pub(super) len: usize,
}

impl CudaBuffer {
    /// Allocates `len` zeros.
    pub(super) fn new(gpu: &Arc<Gpu>, len: usize, what: &'static str) -> Result<Self, Error> {
        Ok(CudaBuffer { memory: gpu.zeroed(len * size_of::<f32>(), what)?, len })
    }
    /// Returns the address of value `i`.
    pub(super) fn at(&self, i: usize) -> u64 {
        self.memory.at() + (i * size_of::<f32>()) as u64
    }
    /// Sets all values to zero.
    pub(super) fn zero(&self) -> Result<(), Error> {
        self.memory.fill(0, 0..self.len * size_of::<f32>())
    }
    /// Copies a range to the host.
    pub(super) fn to_vec(&self, range: Range<usize>) -> Result<Vec<f32>, Error> {
        let mut values = vec![0.0; range.len()];
        self.memory.read(range.start * size_of::<f32>(), &mut values)?;
        Ok(values)
    }
}
