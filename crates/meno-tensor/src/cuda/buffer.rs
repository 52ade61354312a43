//! A vector of f32 in the card's memory.

use super::driver::{Arg, Gpu, Launch, Memory};
use super::weights::CudaWeights;
use crate::backend::{Buffer, Error, Weights, own};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// A vector of f32 on the card.
pub(super) struct CudaBuffer {
    pub(super) memory: Memory,
    len: usize,
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

impl Buffer for CudaBuffer {
    fn len(&self) -> usize {
        self.len
    }
    fn read(&self, range: Range<usize>) -> Result<Cow<'_, [f32]>, Error> {
        Ok(Cow::Owned(self.to_vec(range)?))
    }
    fn update(&mut self, range: Range<usize>, f: &mut dyn FnMut(&mut [f32])) -> Result<(), Error> {
        let mut values = self.to_vec(range.clone())?;
        f(&mut values);
        self.memory.write(range.start * size_of::<f32>(), &values)
    }
    fn mix(&mut self, weights: &dyn Weights, rate: f32) -> Result<(), Error> {
        let weights: &CudaWeights = own(weights);
        let args = &mut [Arg::from(self.at(0)), weights.values().at(0).into(), rate.into(), Arg::long(self.len)];
        self.memory.gpu().launch("mix", Launch::elements(self.len), args)
    }
}
