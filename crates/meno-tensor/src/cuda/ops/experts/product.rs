//! What the kernels of experts compute: products of the rows of each expert with its matrix.

use crate::backend::Error;
use crate::cuda::driver::{Arg, Gpu, Launch};

/// The rows of all experts, sorted by expert.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    /// Rows of all experts together.
    pub(super) count: usize,
    pub(super) experts: usize,
    /// The address of the first row of each expert, and of the end of the last.
    pub(super) offsets: u64,
    /// The rows of a tile, at most.
    pub(super) tile: usize,
    /// The address of the list of tiles.
    pub(super) tiles: u64,
}

impl Rows {
    /// Returns the largest number of tiles that there can be.
    pub(super) fn most_tiles(&self) -> usize {
        self.count.min(self.experts) + self.count / self.tile
    }
    /// Makes the list of tiles.
    pub(super) fn list_tiles(&self, gpu: &Gpu) -> Result<(), Error> {
        let launch = Launch { shared: self.experts * size_of::<u32>(), ..Launch::blocks(1, 256) };
        let [tiles, offsets] = [self.tiles, self.offsets].map(Arg::from);
        let [experts, most, tile] = [self.experts, self.most_tiles(), self.tile].map(Arg::from);
        gpu.launch("experts_tiles", launch, &mut [tiles, offsets, experts, most, tile])
    }
}

/// What is computed with a matrix w of each expert: addresses of matrices with a row for each row of the experts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Product {
    /// y = x · wᵀ.
    Forward { y: u64, x: u64 },
    /// h = silu(gate) ⊙ up, where gate and up are the halves of x · wᵀ. They are written too, if they are read later.
    Swiglu { h: u64, gate_up: u64, read: bool, x: u64 },
    /// dx = dy · w.
    InputGradient { dx: u64, dy: u64 },
    /// w += dyᵀ · x.
    WeightGradient { dy: u64, x: u64 },
}
