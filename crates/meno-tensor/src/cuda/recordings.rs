//! Passes recorded as CUDA graphs: a step of decoding is hundreds of small launches, which cost less as one.
//!
//! A recorded pass is repeated as long as its key is the same and no memory was allocated or freed since, so that all
//! addresses are still right. The inputs of the batch are copied to the same place before.

use super::driver::Graph;
use super::results::Entry;
use crate::precision::Precision;
use crate::tape::Batch;

/// Passes that are kept.
const MOST: usize = 32;

/// What determines the launches of a pass of generation, besides addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    precision: Precision,
    /// Sequences, each with one new token.
    sequences: usize,
    logit_rows: Vec<usize>,
    sampled_rows: Vec<usize>,
    /// The address of the weights.
    weights: u64,
    /// The address of the first layer's keys.
    keys: u64,
}

impl Key {
    /// Returns the key of a pass, if every sequence has one new token and nothing else comes from the host.
    pub(super) fn of(precision: Precision, batch: &Batch, weights: u64, keys: u64) -> Option<Key> {
        let step = batch.hidden.is_empty() && batch.segments.iter().all(|segment| segment.rows.len() == 1);
        let (sequences, logit_rows) = (batch.segments.len(), batch.logit_rows.clone());
        let sampled_rows = batch.sampled_rows.iter().map(|&(row, _)| row).collect();
        step.then_some(Key { precision, sequences, logit_rows, sampled_rows, weights, keys })
    }
}

/// A recorded pass.
pub(super) struct Recording {
    pub(super) key: Key,
    /// The state of the memory that its addresses belong to.
    pub(super) generation: u64,
    pub(super) graph: Graph,
    pub(super) results: Vec<Entry>,
}

/// The recorded passes of a program.
#[derive(Default)]
pub(super) struct Recordings {
    list: Vec<Recording>,
    /// The last pass, if it changed no memory: the same pass can be recorded next.
    last: Option<(Key, u64)>,
    /// True if the program does something that cannot be recorded.
    pub(super) disabled: bool,
}

impl Recordings {
    /// Returns the recording of a pass.
    pub(super) fn find(&mut self, key: &Key, generation: u64) -> Option<&Recording> {
        self.list.retain(|recording| recording.generation == generation);
        self.list.iter().find(|recording| recording.key == *key)
    }
    /// Returns true if a pass can be recorded: it ran just before, without a change of memory.
    pub(super) fn ready(&self, key: &Key, generation: u64) -> bool {
        !self.disabled && self.last.as_ref().is_some_and(|(last, at)| last == key && *at == generation)
    }
    /// Returns the number of recordings.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }
    /// Keeps a recording; the oldest goes if there are too many.
    pub(super) fn push(&mut self, recording: Recording) {
        if self.list.len() == MOST {
            self.list.remove(0);
        }
        self.list.push(recording);
    }
    /// Notes a pass that ran launch by launch; `before` and `after` are the states of the memory.
    pub(super) fn ran(&mut self, key: Key, before: u64, after: u64) {
        self.last = (before == after).then_some((key, after));
    }
}

#[cfg(test)]
mod tests {
    use crate::cuda::driver::Gpu;
    use crate::device::Device;

    #[test]
    fn what_a_graph_cannot_hold_is_an_error() {
        if !Device::all().contains(&Device::Cuda(0)) {
            return;
        }
        let gpu = Gpu::open(0).unwrap();
        let memory = gpu.zeroed(4, "a test").unwrap();
        let mut value = [0u32];
        assert!(gpu.record(|| memory.write(0, &[1u32])).is_err());
        assert!(gpu.record(|| memory.read(0, &mut value)).is_err());
        assert!(gpu.record(|| gpu.allocate(4, "a test").map(drop)).is_err());
        assert!(gpu.record(|| gpu.synchronize()).is_err());
        // The card goes on, and a graph of what it can hold runs.
        let graph = gpu.record(|| memory.fill(1, 0..4)).unwrap();
        memory.read(0, &mut value).unwrap();
        assert_eq!(value, [0]);
        graph.launch().unwrap();
        memory.read(0, &mut value).unwrap();
        assert_eq!(value, [0x0101_0101]);
    }
}
