//! Memory of the reference device: a vector that only its own objects access. Reading it returns a copy.

use crate::backend::{Buffer, Error, Weights};
use crate::device::Device;
use std::borrow::Cow;
use std::ops::Range;

/// Returns `len` zeroes, or an error if there is no memory for `what`.
pub(super) fn zeroed<T: Copy + Default>(len: usize, what: &'static str) -> Result<Vec<T>, Error> {
    let mut values = Vec::new();
    let bytes = len * size_of::<T>();
    values.try_reserve_exact(len).map_err(|_| Error::OutOfMemory {
        device: Device::Reference,
        bytes,
        free: None,
        what,
    })?;
    values.resize(len, T::default());
    Ok(values)
}

/// A vector of f32 on the device.
pub(super) struct Block {
    pub(super) values: Vec<f32>,
}

impl Block {
    pub(super) fn new(len: usize, what: &'static str) -> Result<Self, Error> {
        Ok(Block { values: zeroed(len, what)? })
    }
}

impl Buffer for Block {
    fn len(&self) -> usize {
        self.values.len()
    }
    fn read(&self, range: Range<usize>) -> Result<Cow<'_, [f32]>, Error> {
        Ok(Cow::Owned(self.values[range].to_vec()))
    }
    fn update(&mut self, range: Range<usize>, f: &mut dyn FnMut(&mut [f32])) -> Result<(), Error> {
        let mut copy = self.values[range.clone()].to_vec();
        f(&mut copy);
        self.values[range].copy_from_slice(&copy);
        Ok(())
    }
    fn add(&mut self, other: &dyn Buffer) -> Result<(), Error> {
        let other = other.read(0..other.len())?;
        self.values.iter_mut().zip(&*other).for_each(|(mine, other)| *mine += other);
        Ok(())
    }
    fn zero(&mut self) -> Result<(), Error> {
        self.values.fill(0.0);
        Ok(())
    }
    fn mix(&mut self, weights: &dyn Weights, rate: f32) -> Result<(), Error> {
        for (mine, &weight) in self.values.iter_mut().zip(&*weights.read_all()?) {
            let rate = rate as f64;
            // At rate 1 the copy has the bits of the weights, even if the old value is not finite.
            *mine = if rate == 1.0 { weight } else { (*mine as f64 * (1.0 - rate) + rate * weight as f64) as f32 };
        }
        Ok(())
    }
}
