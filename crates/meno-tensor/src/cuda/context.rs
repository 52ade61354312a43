//! The data of an op on the card: addresses of its inputs and outputs, scratch memory, and results to fetch.
//!
//! In debug builds every access is checked against the op's declaration.

use super::batch::{Cache, CudaBatch};
use super::blocks::Blocks;
use super::buffer::CudaBuffer;
use super::driver::{Arg, Gpu, Launch, Memory, suffix};
use super::results::Results;
use super::rope_tables::RopeTables;
use super::weights::CudaWeights;
use crate::backend::Error;
use crate::ops::Columns;
use crate::ops::attention::HeadView;
use crate::precision::Precision;
use crate::tape::{Activation, ActivationInfo, Batch, Dtype, IntTensor, Objective, Outputs, Param};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// A matrix on the card.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tensor {
    /// The address of the first element.
    pub(super) at: u64,
    /// The type of the elements.
    pub(super) dtype: Dtype,
    /// The number of columns.
    pub(super) cols: usize,
    /// The distance between rows, in elements.
    pub(super) ld: usize,
}

impl Tensor {
    /// A matrix whose rows are contiguous.
    pub(super) fn new(at: u64, dtype: Dtype, cols: usize) -> Tensor {
        Tensor { at, dtype, cols, ld: cols }
    }
    /// Returns `cols` columns from column `start`.
    pub(super) fn columns(self, start: usize, cols: usize) -> Tensor {
        Tensor { at: self.at + (start * self.dtype.bytes()) as u64, cols, ..self }
    }
    /// Returns the matrix from row `start`.
    pub(super) fn rows_from(self, start: usize) -> Tensor {
        Tensor { at: self.at + (start * self.ld * self.dtype.bytes()) as u64, ..self }
    }
    /// Returns true if every row is whole, aligned pieces of four elements.
    pub(super) fn in_fours(self) -> bool {
        let aligned = self.at.is_multiple_of(4 * self.dtype.bytes() as u64);
        aligned && self.ld.is_multiple_of(4) && self.cols.is_multiple_of(4)
    }
    /// Returns the suffix of kernels for its type.
    pub(super) fn suffix(self) -> &'static str {
        suffix(self.dtype)
    }
}

impl From<Tensor> for Arg {
    fn from(tensor: Tensor) -> Arg {
        Arg::Pointer(tensor.at)
    }
}

/// A weight on the card.
#[derive(Clone, Copy, Debug)]
pub(super) enum Weight {
    Dense(Tensor),
    Blocks(Blocks),
}

impl Weight {
    /// Returns a weight that is kept dense: one that is trained, or one that is absorbed in attention, which no network
    /// quantizes.
    pub(super) fn dense(self) -> Tensor {
        match self {
            Weight::Dense(matrix) => matrix,
            Weight::Blocks(_) => unreachable!("invariant: the kernels of this op read no blocks"),
        }
    }
}

impl From<Tensor> for Weight {
    fn from(matrix: Tensor) -> Weight {
        Weight::Dense(matrix)
    }
}

/// Activations, or their gradients: byte ranges in one planned block of memory.
pub(super) struct Slots<'a> {
    pub(super) memory: &'a Memory,
    /// Byte ranges in the block.
    pub(super) places: &'a [Range<usize>],
    pub(super) shapes: &'a [ActivationInfo],
    pub(super) dtypes: &'a [Dtype],
    /// The activations that the op declares to read here, and the ones that it declares to write.
    pub(super) declared: [&'a [Activation]; 2],
}

impl Slots<'_> {
    /// Returns an activation that the op reads or writes.
    fn get(&self, act: Activation) -> Tensor {
        let declared = self.declared.iter().any(|acts| acts.contains(&act));
        debug_assert!(declared, "invariant: the op's io declares {act:?}");
        let (at, dtype) = (self.memory.at() + self.places[act.index()].start as u64, self.dtypes[act.index()]);
        Tensor::new(at, dtype, self.shapes[act.index()].cols)
    }
    /// Fills the whole place of an activation with NaN.
    pub(super) fn poison(&self, act: Activation) -> Result<(), Error> {
        self.memory.fill(0xff, self.places[act.index()].clone())
    }
}

/// Memory that an op uses while it runs.
pub(super) struct Scratch {
    gpu: Arc<Gpu>,
    /// The last block is in use; earlier ones were too small.
    blocks: Vec<Memory>,
    used: usize,
    /// The largest sum of blocks that an op needed.
    most: usize,
    /// Values that the host sent, by their bytes.
    constants: HashMap<Vec<u8>, Memory>,
}

/// Constants that are kept: more than a step of training uses.
const CONSTANTS: usize = 1024;

impl Scratch {
    pub(super) fn new(gpu: &Arc<Gpu>) -> Scratch {
        Scratch { gpu: gpu.clone(), blocks: Vec::new(), used: 0, most: 1 << 20, constants: HashMap::new() }
    }
    /// Returns the address of `bytes` bytes that are free until the op ends.
    pub(super) fn take(&mut self, bytes: usize) -> Result<u64, Error> {
        let bytes = bytes.max(1).next_multiple_of(256);
        let room = self.blocks.last().map_or(0, Memory::bytes);
        if self.blocks.is_empty() || self.used + bytes > room {
            let least = if self.blocks.is_empty() { self.most } else { 1 << 20 };
            self.blocks.push(self.gpu.allocate(bytes.max(least), "scratch memory")?);
            self.used = 0;
        }
        let at = self.blocks.last().expect("invariant: a block").at() + self.used as u64;
        self.used += bytes;
        Ok(at)
    }
    /// Returns the current end of the memory in use.
    pub(super) fn mark(&self) -> (usize, usize) {
        (self.blocks.len(), self.used)
    }
    /// Frees what was taken after `mark`.
    pub(super) fn free_from(&mut self, (blocks, used): (usize, usize)) {
        self.used = if self.blocks.len() == blocks { used } else { 0 };
    }
    /// Frees everything for the next op. Several blocks become one block of their size, allocated when it is used.
    pub(super) fn reset(&mut self) {
        self.used = 0;
        if self.blocks.len() > 1 {
            self.most = self.most.max(self.bytes());
            self.blocks.clear();
        }
        if self.constants.len() > CONSTANTS {
            self.constants.clear();
        }
    }
    pub(super) fn bytes(&self) -> usize {
        self.blocks.iter().map(Memory::bytes).sum()
    }
}

/// All data of an op.
pub(super) struct Ctx<'a> {
    pub(super) gpu: &'a Gpu,
    pub(super) weights: &'a CudaWeights,
    /// The inputs, on the host.
    pub(super) batch: &'a Batch,
    /// The inputs, on the card.
    pub(super) on_card: &'a CudaBatch,
    /// Number of rows in this batch.
    pub(super) rows: usize,
    /// Input type of matrix products.
    pub(super) precision: Precision,
    /// True if a backward pass follows.
    pub(super) train: bool,
    /// Keys and values of the sequences being generated (inference only).
    pub(super) cache: Option<&'a Cache<'a>>,
    /// Results that the host computes or fetches at once.
    pub(super) out: &'a mut Outputs,
    /// Results that are fetched after the pass.
    pub(super) results: &'a mut Results,
    /// The function that the loss heads minimize.
    pub(super) objective: &'a dyn Objective,
    pub(super) acts: Slots<'a>,
    pub(super) grads: Slots<'a>,
    pub(super) param_grads: Option<&'a CudaBuffer>,
    /// Integer buffers: address and capacity.
    pub(super) ints: &'a [Memory],
    /// The buffers that the op declares to use.
    pub(super) declared_ints: &'a [IntTensor],
    pub(super) adds: &'a [Activation],
    pub(super) scratch: RefCell<&'a mut Scratch>,
    pub(super) rope_tables: &'a mut RopeTables,
}

impl Ctx<'_> {
    /// Returns an activation, `[rows, cols]`.
    pub(super) fn act(&self, act: Activation) -> Tensor {
        self.acts.get(act)
    }
    /// Returns some columns of an activation.
    pub(super) fn columns(&self, columns: Columns) -> Tensor {
        self.act(columns.act).columns(columns.at, columns.cols)
    }
    /// Returns heads of an activation; `ld` is the distance between rows.
    pub(super) fn heads(&self, view: HeadView) -> Tensor {
        let all = self.act(view.act);
        all.columns(view.offset, all.cols - view.offset)
    }
    /// Returns the gradient of an activation, to read.
    pub(super) fn grad(&self, act: Activation) -> Tensor {
        self.grads.get(act)
    }
    /// Returns the gradient of some columns, to read.
    pub(super) fn grad_columns(&self, columns: Columns) -> Tensor {
        self.grad(columns.act).columns(columns.at, columns.cols)
    }
    /// Returns the gradient of an activation, to write, and true if the op must add to it.
    pub(super) fn give_grad(&self, act: Activation) -> (Tensor, bool) {
        (self.grads.get(act), self.adds.contains(&act))
    }
    /// Like [`Ctx::give_grad`] for some columns; the first op to write sets the others to zero.
    pub(super) fn give_grad_columns(&self, columns: Columns) -> Result<(Tensor, bool), Error> {
        let (whole, adds) = self.give_grad(columns.act);
        if columns.is_part() && !adds {
            self.zero(whole, self.rows)?;
        }
        Ok((whole.columns(columns.at, columns.cols), adds))
    }
    /// Sets `rows` contiguous rows to zero.
    pub(super) fn zero(&self, x: Tensor, rows: usize) -> Result<(), Error> {
        assert!(x.cols == x.ld, "invariant: the rows are contiguous");
        self.gpu.fill(x.at, 0, rows * x.ld * x.dtype.bytes())
    }
    /// Returns the matrix `p`, `[rows, cols]`, for products.
    pub(super) fn matrix(&self, p: Param) -> Weight {
        if let Some(blocks) = self.weights.blocks(p) {
            return Weight::Blocks(blocks);
        }
        let (at, dtype) = self.weights.matrix(p, self.precision);
        Weight::Dense(Tensor::new(at, dtype, self.weights.layout_of(p).matrix_shape()[1]))
    }
    /// Returns the f32 values of `p`: a gain, a bias, or a matrix that is not rounded.
    pub(super) fn values(&self, p: Param) -> Tensor {
        let cols = self.weights.layout_of(p).matrix_shape()[1];
        Tensor::new(self.weights.at(p), Dtype::F32, cols)
    }
    /// Returns the f32 values of an optional parameter, or a null pointer.
    pub(super) fn optional(&self, p: Option<Param>) -> u64 {
        p.map_or(0, |p| self.weights.at(p))
    }
    /// Returns the gradient of a parameter, to add to.
    pub(super) fn param_grad(&self, p: Param) -> Tensor {
        let grads = self.param_grads.expect("invariant: backward has gradients");
        let info = self.weights.layout_of(p);
        Tensor::new(grads.at(info.range().start), Dtype::F32, info.matrix_shape()[1])
    }
    /// Returns the address of integers.
    pub(super) fn ints(&self, ints: IntTensor) -> u64 {
        debug_assert!(self.declared_ints.contains(&ints), "invariant: the op's io declares {ints:?}");
        self.ints[ints.index()].at()
    }
    /// Copies integers from the host.
    pub(super) fn set_ints(&self, ints: IntTensor, values: &[u32]) -> Result<(), Error> {
        debug_assert!(self.declared_ints.contains(&ints), "invariant: the op's io declares {ints:?}");
        self.ints[ints.index()].write(0, values)
    }
    /// Returns a matrix in scratch memory with undefined content.
    pub(super) fn temporary(&self, rows: usize, cols: usize, dtype: Dtype) -> Result<Tensor, Error> {
        Ok(Tensor::new(self.scratch.borrow_mut().take(rows * cols * dtype.bytes())?, dtype, cols))
    }
    /// Copies values from the host to scratch memory.
    pub(super) fn upload<T: bytemuck::Pod>(&self, values: &[T]) -> Result<u64, Error> {
        let at = self.scratch.borrow_mut().take(size_of_val(values).max(1))?;
        self.gpu.write(at, values)?;
        Ok(at)
    }
    /// Returns the address of values that other passes send too. Sent once: an upload waits for the card's work.
    pub(super) fn constants<T: bytemuck::Pod>(&self, values: &[T]) -> Result<u64, Error> {
        let (bytes, mut scratch): (&[u8], _) = (bytemuck::cast_slice(values), self.scratch.borrow_mut());
        if let Some(memory) = scratch.constants.get(bytes) {
            return Ok(memory.at());
        }
        let memory = scratch.gpu.allocate(bytes.len(), "constants of ops")?;
        memory.write(0, values)?;
        let at = memory.at();
        scratch.constants.insert(bytes.to_vec(), memory);
        Ok(at)
    }
    /// Copies values to the host, after all earlier work.
    pub(super) fn download<T: bytemuck::Pod + Default>(&self, at: u64, len: usize) -> Result<Vec<T>, Error> {
        let mut values = vec![T::default(); len];
        self.gpu.read(at, &mut values)?;
        Ok(values)
    }
    /// Returns the element type of rounded values in this pass: of activations that products read.
    pub(super) fn dtype(&self) -> Dtype {
        match self.precision {
            Precision::F32 => Dtype::F32,
            Precision::Bf16 => Dtype::Bf16,
        }
    }
    /// Runs a kernel.
    pub(super) fn launch<const N: usize>(&self, name: &str, launch: Launch, mut args: [Arg; N]) -> Result<(), Error> {
        self.gpu.launch(name, launch, &mut args)
    }
}
