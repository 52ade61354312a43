//! Results of a pass that stay on the card until the pass ends, so that the host waits once.

use super::driver::{Gpu, Memory};
use crate::backend::Error;
use crate::tape::Outputs;
use std::sync::Arc;

/// What a result is.
pub(super) enum Kind {
    /// The number of tokens of each expert, `int[experts]`, for a router.
    ExpertLoad {
        /// The router's index in [`Outputs::expert_load`].
        layer: usize,
    },
    /// A balance loss for each sequence, `float[sequences]`.
    Balance,
    /// Terms of the next token's loss, `float[]` (tests).
    #[cfg(any(test, feature = "testing"))]
    NextToken,
    /// The logits, `float[rows][vocab]`.
    Logits,
    /// The hidden states, `float[rows][hidden]`.
    Hidden,
}

/// Results in one block of memory.
pub(super) struct Results {
    gpu: Arc<Gpu>,
    /// The last block is in use; earlier ones hold results too.
    blocks: Vec<Memory>,
    used: usize,
    /// Kind, block, offset in bytes and number of values.
    list: Vec<(Kind, usize, usize, usize)>,
}

impl Results {
    pub(super) fn new(gpu: &Arc<Gpu>) -> Results {
        Results { gpu: gpu.clone(), blocks: Vec::new(), used: 0, list: Vec::new() }
    }

    /// Returns the address of a result of `len` 32-bit values, to be written by a kernel.
    pub(super) fn add(&mut self, kind: Kind, len: usize) -> Result<u64, Error> {
        let bytes = (len * 4).next_multiple_of(256);
        if self.used + bytes > self.blocks.last().map_or(0, Memory::bytes) {
            self.blocks.push(self.gpu.allocate(bytes.max(1 << 16), "results")?);
            self.used = 0;
        }
        let (block, offset) = (self.blocks.len() - 1, self.used);
        self.used += bytes;
        self.list.push((kind, block, offset, len));
        Ok(self.blocks[block].at() + offset as u64)
    }

    /// Fetches all results, after all work of the pass.
    pub(super) fn fetch(&mut self, out: &mut Outputs) -> Result<(), Error> {
        for (kind, block, offset, len) in self.list.drain(..) {
            let memory = &self.blocks[block];
            let floats = |to: &mut Vec<f32>| {
                to.resize(len, 0.0);
                memory.read(offset, to)
            };
            let sum = || -> Result<f64, Error> {
                let mut terms = Vec::new();
                floats(&mut terms)?;
                Ok(terms.iter().map(|&x| x as f64).sum())
            };
            match kind {
                Kind::ExpertLoad { layer } => {
                    out.expert_load[layer].resize(len, 0);
                    memory.read(offset, &mut out.expert_load[layer])?;
                }
                Kind::Balance => out.losses.balance += sum()?,
                #[cfg(any(test, feature = "testing"))]
                Kind::NextToken => out.losses.next_token += sum()?,
                Kind::Logits => floats(&mut out.logits)?,
                Kind::Hidden => floats(&mut out.hidden)?,
            }
        }
        self.used = 0;
        let small = self.blocks.len().saturating_sub(1);
        self.blocks.drain(..small);
        Ok(())
    }

    /// Forgets the results of a pass that failed.
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.used = 0;
    }
}
