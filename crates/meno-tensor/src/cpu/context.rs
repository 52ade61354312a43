//! What the kernels of an op compute on.

use super::kv_store::CpuKvStore;
use super::ops::head::HeadMemory;
use super::weights::CpuWeights;
use crate::precision::Precision;
use crate::tape::{Activation, ActivationInfo, Batch, IntTensor, Io, Objective, Outputs, PageTable, Param};
use std::ops::Range;

/// Activations (or their gradients): disjoint slices of one planned block.
pub(crate) struct Slots<'a> {
    pub(super) data: &'a mut [f32],
    /// Places in bytes.
    pub(super) places: &'a [Range<usize>],
    pub(super) shapes: &'a [ActivationInfo],
    pub(super) rows: usize,
    /// What the op declared that it touches here.
    pub(super) declared: [&'a [Activation]; 2],
}

impl Slots<'_> {
    /// The `[rows, cols]` values of each of `acts`, which must be different.
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
    /// The gradient of each of `params`, to add to.
    pub(crate) fn get<const N: usize>(&mut self, params: [Param; N]) -> [&mut [f32]; N] {
        let ranges = params.map(|p| self.weights.info(p).range());
        self.data.get_disjoint_mut(ranges).expect("invariant: parameters do not overlap")
    }
    /// The gradient of one parameter, to add to.
    pub(crate) fn one(&mut self, param: Param) -> &mut [f32] {
        &mut self.data[self.weights.info(param).range()]
    }
    /// The gradient of fused weights, as of one matrix.
    pub(crate) fn fused(&mut self, weights: &[Param]) -> &mut [f32] {
        &mut self.data[self.weights.span(weights)]
    }
}

/// Integers of a declared capacity, and how many are in use.
#[derive(Default)]
pub(crate) struct IntBuffer {
    values: Box<[u32]>,
    count: usize,
}

impl IntBuffer {
    pub(super) fn new(capacity: usize) -> Self {
        IntBuffer { values: vec![0; capacity].into(), count: 0 }
    }
    /// The integers in use.
    pub(crate) fn get(&self) -> &[u32] {
        &self.values[..self.count]
    }
    /// `count` integers to overwrite.
    pub(crate) fn reset(&mut self, count: usize) -> &mut [u32] {
        assert!(count <= self.values.len(), "invariant: {count} integers fit {}", self.values.len());
        self.count = count;
        &mut self.values[..count]
    }
    /// Overwrites with the integers of `from`.
    pub(crate) fn fill(&mut self, from: impl Iterator<Item = u32>) {
        self.count = 0;
        for x in from {
            self.values[self.count] = x;
            self.count += 1;
        }
    }
}

/// The KV cache in a pass.
pub(crate) struct Cache<'a> {
    pub(crate) table: &'a PageTable,
    pub(crate) store: &'a mut CpuKvStore,
}

/// Everything that an op computes on.
pub(crate) struct Ctx<'a> {
    /// The weights.
    pub(crate) params: &'a CpuWeights,
    /// The inputs.
    pub(crate) batch: &'a Batch,
    /// Rows of this batch.
    pub(crate) rows: usize,
    /// Input type of the products.
    pub(crate) precision: Precision,
    /// Whether a backward pass follows.
    pub(crate) train: bool,
    /// Activations.
    pub(crate) acts: Slots<'a>,
    /// Gradients of activations.
    pub(crate) grads: Slots<'a>,
    /// Gradients of parameters.
    pub(crate) param_grads: ParamGrads<'a>,
    /// Integers, by handle.
    pub(crate) ints: &'a mut [IntBuffer],
    /// Keys and values of generated sequences (inference).
    pub(crate) cache: Option<Cache<'a>>,
    /// Scratch memory, at least as long as the op asked for; its content is arbitrary.
    pub(crate) scratch: &'a mut [f32],
    /// Memory of the loss heads.
    pub(crate) head: &'a mut HeadMemory,
    /// Results.
    pub(crate) out: &'a mut Outputs,
    /// What the loss heads minimize.
    pub(crate) objective: &'a dyn Objective,
    pub(super) adds: &'a [Activation],
}

impl Ctx<'_> {
    /// Whether this op must add to the gradient of `act` (another op wrote to it before) instead of overwriting it.
    pub(crate) fn adds(&self, act: Activation) -> bool {
        self.adds.contains(&act)
    }
    /// The integers of a handle.
    pub(crate) fn ints(&mut self, ints: IntTensor) -> &mut IntBuffer {
        &mut self.ints[ints.index()]
    }
}

/// What an op declares for the forward or for the backward pass: activations, then gradients.
pub(super) fn declared(io: &Io, forward: bool) -> [[&[Activation]; 2]; 2] {
    match forward {
        true => [[&io.reads, &io.writes], [&[], &[]]],
        false => [[&io.saved, &[]], [&io.grad_reads, &io.grad_writes]],
    }
}
