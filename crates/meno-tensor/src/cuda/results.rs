//! Results of a pass that stay on the card until the pass ends, so that the host waits once.

use super::driver::{Gpu, Memory};
use super::sampling::Sampled;
use crate::backend::Error;
use crate::tape::{Batch, Outputs};
use std::sync::Arc;

/// What a result is.
#[derive(Clone, Copy)]
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
    /// Tokens chosen from logits, `Sampled[rows]` of sampling.cu, for the rows of the batch from this one.
    Sampled { first: usize },
    /// The hidden states, `float[rows][hidden]`.
    Hidden,
}

/// The place of a result.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    kind: Kind,
    block: usize,
    /// In bytes.
    offset: usize,
    /// Number of values.
    len: usize,
}

/// Results in blocks of memory.
pub(super) struct Results {
    gpu: Arc<Gpu>,
    /// The last block is in use; earlier ones hold results too.
    blocks: Vec<Memory>,
    used: usize,
    /// The size of the first block: what the results of a pass needed.
    most: usize,
    list: Vec<Entry>,
}

impl Results {
    pub(super) fn new(gpu: &Arc<Gpu>) -> Results {
        Results { gpu: gpu.clone(), blocks: Vec::new(), used: 0, most: 1 << 16, list: Vec::new() }
    }

    /// Returns the address of a result of `len` 32-bit values, to be written by a kernel.
    pub(super) fn add(&mut self, kind: Kind, len: usize) -> Result<u64, Error> {
        let bytes = (len * 4).next_multiple_of(256);
        if self.blocks.is_empty() || self.used + bytes > self.blocks.last().map_or(0, Memory::bytes) {
            let least = if self.blocks.is_empty() { self.most } else { 1 << 16 };
            self.blocks.push(self.gpu.allocate(bytes.max(least), "results")?);
            self.used = 0;
        }
        let (block, offset) = (self.blocks.len() - 1, self.used);
        self.used += bytes;
        self.list.push(Entry { kind, block, offset, len });
        Ok(self.blocks[block].at() + offset as u64)
    }

    /// Fetches all results, after all work of the pass.
    pub(super) fn fetch(&mut self, batch: &Batch, out: &mut Outputs) -> Result<(), Error> {
        out.logits.clear();
        out.sampled.clear();
        for Entry { kind, block, offset, len } in self.list.drain(..) {
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
                Kind::Sampled { first } => {
                    let mut sampled = vec![Sampled::default(); len * 4 / size_of::<Sampled>()];
                    memory.read(offset, &mut sampled)?;
                    let rows = batch.sampled_rows[first..].iter();
                    out.sampled
                        .extend(sampled.iter().zip(rows).map(|(sampled, (_, sampling))| sampled.token(sampling)));
                }
                Kind::Hidden => floats(&mut out.hidden)?,
            }
        }
        self.used = 0;
        if self.blocks.len() > 1 {
            self.most = self.most.max(self.blocks.iter().map(Memory::bytes).sum());
            self.blocks.clear();
        }
        Ok(())
    }

    /// Returns the results that the pass has so far.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.list
    }

    /// Expects the results of a pass that is repeated.
    pub(super) fn expect(&mut self, entries: &[Entry]) {
        self.list.clear();
        self.list.extend_from_slice(entries);
    }

    /// Forgets the results of a pass that failed.
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.used = 0;
    }
}
