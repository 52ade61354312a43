//! Memory that quantized matrices share. The experts of a network are thousands of matrices, and the driver rounds each
//! allocation up, large ones to 2 MB.

use crate::backend::Error;
use crate::cuda::driver::{Gpu, Memory};
use std::sync::Arc;

/// The largest allocation in advance, in bytes.
const MOST: usize = 64 << 20;

/// Memory in a few large allocations.
pub(in crate::cuda) struct Slabs {
    pub(super) gpu: Arc<Gpu>,
    all: Vec<Memory>,
    /// Bytes in use of the last allocation.
    used: usize,
}

impl Slabs {
    pub(in crate::cuda) fn new(gpu: &Arc<Gpu>) -> Slabs {
        Slabs { gpu: gpu.clone(), all: Vec::new(), used: 0 }
    }

    /// Returns the address of `bytes` bytes. An allocation adds at least a quarter, so that there are few and little is
    /// left unused.
    pub(super) fn take(&mut self, bytes: usize) -> Result<u64, Error> {
        let bytes = bytes.next_multiple_of(256);
        let room = self.all.last().map_or(0, Memory::bytes);
        if self.used + bytes > room {
            let in_advance = (self.bytes() / 4).min(MOST);
            self.all.push(self.gpu.allocate(bytes.max(in_advance), "quantized weights")?);
            self.used = 0;
        }
        let last = self.all.last().expect("invariant: an allocation with room");
        let at = last.at() + self.used as u64;
        self.used += bytes;
        Ok(at)
    }

    /// Returns the bytes of all allocations.
    pub(in crate::cuda) fn bytes(&self) -> usize {
        self.all.iter().map(Memory::bytes).sum()
    }
}
