//! The data of an op: copies of its inputs, and stores to the places of the memory plan.
//!
//! In debug builds every access is checked against the op's declaration for this half of the pass, reads and writes
//! separately.

use super::kv_store::ReferenceKvStore;
use super::weights::ReferenceWeights;
use crate::ops::Columns;
use crate::precision::Precision;
use crate::tape::{Activation, ActivationInfo, Batch, IntTensor, Objective, Outputs, PageTable, Param};
use std::ops::Range;

/// Activations, or their gradients: byte ranges in one planned block of memory.
pub(super) struct Slots<'a> {
    pub(super) data: &'a mut [f32],
    /// Byte ranges in the block.
    pub(super) places: &'a [Range<usize>],
    pub(super) shapes: &'a [ActivationInfo],
    pub(super) rows: usize,
    /// The activations that the op declares to read here, and the ones that it declares to write.
    pub(super) reads: &'a [Activation],
    pub(super) writes: &'a [Activation],
}

impl Slots<'_> {
    /// Returns the place of the rows of this pass, in values.
    fn range(&self, act: Activation) -> Range<usize> {
        let place = &self.places[act.index()];
        let (start, len) = (place.start / size_of::<f32>(), self.shapes[act.index()].cols * self.rows);
        assert!(len * size_of::<f32>() <= place.len(), "invariant: the plan has room for {act:?}");
        start..start + len
    }
    fn read(&self, act: Activation) -> Vec<f32> {
        debug_assert!(self.reads.contains(&act), "invariant: the op's io declares that it reads {act:?}");
        self.data[self.range(act)].to_vec()
    }
    fn write(&mut self, act: Activation) -> &mut [f32] {
        debug_assert!(self.writes.contains(&act), "invariant: the op's io declares that it writes {act:?}");
        let range = self.range(act);
        &mut self.data[range]
    }
    /// Fills the whole place of an activation with NaN.
    pub(super) fn poison(&mut self, act: Activation) {
        let Range { start, end } = self.places[act.index()];
        self.data[start / size_of::<f32>()..end / size_of::<f32>()].fill(f32::NAN);
    }
}

/// The KV cache during a pass.
pub(super) struct Cache<'a> {
    pub(super) table: &'a PageTable,
    pub(super) store: &'a mut ReferenceKvStore,
}

/// All data of an op.
pub(super) struct Ctx<'a> {
    /// The weights.
    pub(super) weights: &'a ReferenceWeights,
    /// The inputs.
    pub(super) batch: &'a Batch,
    /// Number of rows in this batch.
    pub(super) rows: usize,
    /// Input type of matrix products.
    pub(super) precision: Precision,
    /// True if a backward pass follows.
    pub(super) train: bool,
    /// Keys and values of the sequences being generated (inference only).
    pub(super) cache: Option<Cache<'a>>,
    /// Results.
    pub(super) out: &'a mut Outputs,
    /// The function that the loss heads minimize.
    pub(super) objective: &'a dyn Objective,
    pub(super) acts: Slots<'a>,
    pub(super) grads: Slots<'a>,
    pub(super) param_grads: &'a mut [f32],
    pub(super) ints: &'a mut [Vec<u32>],
    pub(super) int_capacities: &'a [usize],
    /// The buffers that the op declares to use.
    pub(super) declared_ints: &'a [IntTensor],
    pub(super) adds: &'a [Activation],
}

impl Ctx<'_> {
    /// Returns the number of columns of an activation.
    pub(super) fn cols(&self, act: Activation) -> usize {
        self.acts.shapes[act.index()].cols
    }
    /// Returns the values of an activation, `[rows, cols]`.
    pub(super) fn value(&self, act: Activation) -> Vec<f32> {
        self.acts.read(act)
    }
    /// Returns the values of some columns, `[rows, columns.cols]`.
    pub(super) fn columns(&self, columns: Columns) -> Vec<f32> {
        take(columns, &self.acts.read(columns.act))
    }
    /// Sets the values of an activation.
    pub(super) fn set(&mut self, act: Activation, values: &[f64]) {
        store(self.acts.write(act), values, false);
    }
    /// Sets the values of some columns.
    pub(super) fn set_columns(&mut self, columns: Columns, values: &[f64]) {
        let y = self.acts.write(columns.act).chunks_exact_mut(columns.ld);
        y.zip(values.chunks_exact(columns.cols)).for_each(|(y, v)| store(columns.of_mut(y), v, false));
    }
    /// Returns the gradient of an activation.
    pub(super) fn grad(&self, act: Activation) -> Vec<f32> {
        self.grads.read(act)
    }
    /// Returns the gradient of some columns.
    pub(super) fn grad_columns(&self, columns: Columns) -> Vec<f32> {
        take(columns, &self.grads.read(columns.act))
    }
    /// Contributes to the gradient of an activation: adds to the values of an earlier op, or overwrites if there is
    /// none.
    pub(super) fn give_grad(&mut self, act: Activation, values: &[f64]) {
        let add = self.adds.contains(&act);
        store(self.grads.write(act), values, add);
    }
    /// Like [`Ctx::give_grad`], for some columns; the first op to write sets the other columns to zero.
    pub(super) fn give_grad_columns(&mut self, columns: Columns, values: &[f64]) {
        let mut whole = vec![0.0; self.rows * columns.ld];
        for (row, v) in whole.chunks_exact_mut(columns.ld).zip(values.chunks_exact(columns.cols)) {
            row[columns.at..columns.at + columns.cols].copy_from_slice(v);
        }
        self.give_grad(columns.act, &whole);
    }
    /// Replaces the gradient of an activation that the op changes in place.
    pub(super) fn replace_grad(&mut self, act: Activation, values: &[f64]) {
        store(self.grads.write(act), values, false);
    }
    /// Adds to the gradient of a parameter, or of its first values.
    pub(super) fn give_param_grad(&mut self, p: Param, values: &[f64]) {
        let grad = &mut self.param_grads[self.weights.range(p)];
        store(&mut grad[..values.len()], values, true);
    }
    /// Returns the integers of a handle.
    pub(super) fn ints(&self, ints: IntTensor) -> Vec<u32> {
        debug_assert!(self.declared_ints.contains(&ints), "invariant: the op's io declares {ints:?}");
        self.ints[ints.index()].clone()
    }
    /// Sets the integers of a handle.
    pub(super) fn set_ints(&mut self, ints: IntTensor, values: Vec<u32>) {
        debug_assert!(self.declared_ints.contains(&ints), "invariant: the op's io declares {ints:?}");
        let capacity = self.int_capacities[ints.index()];
        assert!(values.len() <= capacity, "invariant: {} integers fit {capacity}", values.len());
        self.ints[ints.index()] = values;
    }
}

fn take(columns: Columns, x: &[f32]) -> Vec<f32> {
    x.chunks_exact(columns.ld).flat_map(|row| columns.of(row)).copied().collect()
}

/// Rounds `values` to f32 and stores them, or adds them to the stored values if `add`.
fn store(to: &mut [f32], values: &[f64], add: bool) {
    assert!(to.len() == values.len(), "invariant: {} values for {}", values.len(), to.len());
    for (to, value) in to.iter_mut().zip(values) {
        *to = if add { *to as f64 + value } else { *value } as f32;
    }
}
