//! The data that the kernels of an op read and write.

use super::expert_parallel::ExpertParallel;
use super::head_memory::HeadMemory;
use super::kv_store::CpuKvStore;
use super::weights::CpuWeights;
use crate::precision::Precision;
use crate::tape::{Activation, ActivationInfo, Batch, IntTensor, Objective, Outputs, PageTable, Param};
use std::ops::Range;

/// Activations (or their gradients): disjoint slices of one planned block of memory.
pub(crate) struct Slots<'a> {
    pub(super) data: &'a mut [f32],
    /// Byte ranges in the block.
    pub(super) places: &'a [Range<usize>],
    pub(super) shapes: &'a [ActivationInfo],
    pub(super) rows: usize,
    /// The activations that the op declares to use here.
    pub(super) declared: [&'a [Activation]; 2],
}

impl Slots<'_> {
    /// Returns the `[rows, cols]` values of each of `acts`, which must be distinct.
    pub(crate) fn get<const N: usize>(&mut self, acts: [Activation; N]) -> [&mut [f32]; N] {
        let ranges = acts.map(|a| {
            debug_assert!(self.declared.iter().any(|d| d.contains(&a)), "invariant: the op's io declares {a:?}");
            let start = self.places[a.index()].start / size_of::<f32>();
            start..start + self.shapes[a.index()].cols * self.rows
        });
        self.data.get_disjoint_mut(ranges).expect("invariant: the plan keeps live activations apart")
    }
}

/// Gradients of the parameters, in the layout of the weights.
pub(crate) struct ParamGrads<'a> {
    pub(super) weights: &'a CpuWeights,
    pub(super) data: &'a mut [f32],
}

impl ParamGrads<'_> {
    /// Returns the gradient of each of `params`, to add to.
    pub(crate) fn get<const N: usize>(&mut self, params: [Param; N]) -> [&mut [f32]; N] {
        let ranges = params.map(|p| self.weights.info(p).range());
        self.data.get_disjoint_mut(ranges).expect("invariant: parameters do not overlap")
    }
    /// Returns the gradient of one parameter, to add to.
    pub(crate) fn one(&mut self, param: Param) -> &mut [f32] {
        &mut self.data[self.weights.info(param).range()]
    }
    /// Returns the gradient of fused weights as one matrix, to add to.
    pub(crate) fn fused(&mut self, weights: &[Param]) -> &mut [f32] {
        &mut self.data[self.weights.span(weights)]
    }
}

/// Integers with a declared capacity and the number in use.
#[derive(Default)]
pub(crate) struct IntBuffer {
    values: Box<[u32]>,
    count: usize,
}

impl IntBuffer {
    pub(super) fn new(capacity: usize) -> Self {
        IntBuffer { values: vec![0; capacity].into(), count: 0 }
    }
    /// Returns the integers in use.
    pub(crate) fn get(&self) -> &[u32] {
        &self.values[..self.count]
    }
    /// Returns `count` integers to overwrite.
    pub(crate) fn reset(&mut self, count: usize) -> &mut [u32] {
        assert!(count <= self.values.len(), "invariant: {count} integers fit {}", self.values.len());
        self.count = count;
        &mut self.values[..count]
    }
    /// Overwrites the buffer with the integers of `from`.
    pub(crate) fn fill(&mut self, from: impl Iterator<Item = u32>) {
        self.count = 0;
        for x in from {
            self.values[self.count] = x;
            self.count += 1;
        }
    }
}

/// The integer buffers of a program.
pub(crate) struct IntSlots<'a> {
    pub(super) buffers: &'a mut [IntBuffer],
    /// The buffers that the op declares to use.
    pub(super) declared: &'a [IntTensor],
}

impl IntSlots<'_> {
    /// Returns the integer buffer of a handle.
    pub(crate) fn get(&mut self, ints: IntTensor) -> &mut IntBuffer {
        debug_assert!(self.declared.contains(&ints), "invariant: the op's io declares {ints:?}");
        &mut self.buffers[ints.index()]
    }
}

/// The KV cache during a pass.
pub(crate) struct Cache<'a> {
    pub(crate) table: &'a PageTable,
    pub(crate) store: &'a mut CpuKvStore,
}

/// All data of an op.
pub(crate) struct Ctx<'a> {
    /// The weights.
    pub(crate) params: &'a CpuWeights,
    /// The inputs.
    pub(crate) batch: &'a Batch,
    /// Number of rows in this batch.
    pub(crate) rows: usize,
    /// Input type of matrix products.
    pub(crate) precision: Precision,
    /// True if a backward pass follows.
    pub(crate) train: bool,
    /// Activations.
    pub(crate) acts: Slots<'a>,
    /// Gradients of activations.
    pub(crate) grads: Slots<'a>,
    /// Gradients of parameters.
    pub(crate) param_grads: ParamGrads<'a>,
    /// Integer buffers.
    pub(crate) ints: IntSlots<'a>,
    /// Keys and values of the sequences being generated (inference only).
    pub(crate) cache: Option<Cache<'a>>,
    /// Scratch memory, at least as long as the op requested; its content is arbitrary.
    pub(crate) scratch: &'a mut [f32],
    /// Memory of the loss heads.
    pub(crate) head: &'a mut HeadMemory,
    /// Results.
    pub(crate) out: &'a mut Outputs,
    /// The function that the loss heads minimize.
    pub(crate) objective: &'a dyn Objective,
    pub(super) adds: &'a [Activation],
    /// The index of the op.
    pub(crate) op: usize,
    /// True if backward follows before this op runs forward again.
    pub(crate) keep: bool,
    /// The exchange with the ranks that hold the experts, if they are dealt out.
    pub(super) experts: Option<&'a mut ExpertParallel>,
}

impl Ctx<'_> {
    /// Returns true if this op must add to the gradient of `act` because another op wrote to it before; otherwise it
    /// overwrites.
    pub(crate) fn adds(&self, act: Activation) -> bool {
        self.adds.contains(&act)
    }
}
