//! The boundary between programs and devices: the traits that a backend implements. Code above this crate uses only
//! these traits and [`crate::device::Device`]. It does not know in which address space weights and activations lie.
//!
//! A backend owns its memory behind [`Weights`], [`Buffer`], [`KvStore`] and [`Executor`]. Objects of one backend work
//! together; passing one to another backend is a bug and panics.

pub use crate::error::Error;
pub use crate::kv_cache::KvStore;

use crate::device::Device;
use crate::kv_cache::{KvCache, KvType, LayerSpec};
use crate::log_softmax::LogSoftmax;
use crate::ops::{Op, Program};
use crate::optim::OptimizerConfig;
use crate::precision::Precision;
use crate::quant::GgmlType;
use crate::quant::fp8::Fp8Matrix;
use crate::sampling::{self, SampledToken, Scratch, TokenSampling};
use crate::tape::{Activation, Batch, Describe, Dtype, Objective, Outputs, Param, ParamLayout, Storage, pages};
use meno_comm::Comm;
use std::any::Any;
use std::borrow::Cow;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

/// A device that executes programs.
pub trait Backend: Send + Sync + Debug {
    /// The device.
    fn device(&self) -> Device;
    /// Allocates zeroed weights in this layout. [`Weights::write_quantized`] and [`Weights::write_fp8`] fill in the
    /// quantized parameters.
    fn weights(&self, layout: Arc<ParamLayout>) -> Result<Box<dyn Weights>, Error>;
    /// Allocates a zeroed vector of `len` f32 values, for gradients or a copy of the weights.
    fn buffer(&self, len: usize) -> Result<Box<dyn Buffer>, Error>;
    /// Allocates the memory of a program and selects its kernels.
    fn executor(&self, program: Program) -> Result<Box<dyn Executor>, Error>;
    /// Allocates the keys and values of `pages` pages ([`crate::tape::PAGE`] tokens each) in every layer.
    fn kv_store(&self, layers: &[LayerSpec], kv_type: KvType, pages: usize) -> Result<Box<dyn KvStore>, Error>;
    /// Creates an empty cache of `pages` pages.
    fn kv_cache(&self, layers: &[LayerSpec], kv_type: KvType, pages: usize) -> Result<KvCache, Error> {
        Ok(KvCache::new(self.kv_store(layers, kv_type, pages)?, pages))
    }
    /// Creates an f32 cache with slots `0..slots` open and pages for `max_len` tokens in each.
    fn kv_cache_with_slots(&self, layers: &[LayerSpec], slots: usize, max_len: usize) -> Result<KvCache, Error> {
        let mut cache = self.kv_cache(layers, KvType::F32, slots * pages(max_len))?;
        (0..slots).for_each(|_| _ = cache.table_mut().open());
        Ok(cache)
    }
    /// Creates an optimizer for the trainable parameters in `owned`, which are ranges of the layout: all of it, or one
    /// part of [`crate::optim::divide`].
    fn optimizer(
        &self,
        config: OptimizerConfig,
        layout: &ParamLayout,
        owned: &[Range<usize>],
    ) -> Result<Box<dyn Optimizer>, Error>;
    /// Appends to `squares` Σ g² over every block of the gradients of trainable parameters in `range`, which begins and
    /// ends where [`crate::optim::divide`] may cut. The bits do not depend on the range or on the number of threads.
    fn gradient_squares(
        &self,
        layout: &ParamLayout,
        grads: &dyn Buffer,
        range: Range<usize>,
        squares: &mut Vec<f64>,
    ) -> Result<(), Error>;
    /// Returns √Σ g² over the gradients of all trainable parameters.
    fn gradient_norm(&self, layout: &ParamLayout, grads: &dyn Buffer) -> Result<f64, Error> {
        let mut squares = Vec::new();
        self.gradient_squares(layout, grads, 0..layout.total(), &mut squares)?;
        Ok(squares.iter().sum::<f64>().sqrt())
    }
    /// Returns the free and the total memory in bytes, if the device has memory of its own.
    fn memory(&self) -> Result<Option<[usize; 2]>, Error> {
        Ok(None)
    }
    /// Waits until all earlier work is done, for measurements. Reading a result waits too.
    fn synchronize(&self) -> Result<(), Error> {
        Ok(())
    }
    /// Normalizes one row of logits with the arithmetic of this device's loss head and leaves exp(z − max) in the row.
    /// The log-probability of a sampled token therefore has the same bits as in scoring.
    fn log_softmax(&self, logits: &mut [f32], inv_temperature: f32) -> LogSoftmax;
    /// Like [`Backend::log_softmax`], with the same bits, but leaves the row unchanged.
    fn normalizer(&self, logits: &[f32], inv_temperature: f32) -> LogSoftmax {
        self.log_softmax(&mut logits.to_vec(), inv_temperature)
    }
    /// Chooses a token from a row of logits.
    fn sample(&self, logits: &[f32], sampling: &TokenSampling, scratch: &mut Scratch) -> SampledToken {
        let normalizer = |row: &[f32], inv_temperature| self.normalizer(row, inv_temperature);
        let log_softmax = |row: &mut [f32], inv_temperature| self.log_softmax(row, inv_temperature);
        sampling::sample::<sampling::F64>(logits, sampling, scratch, normalizer, log_softmax)
    }
    /// Returns true if a pass samples [`Batch::sampled_rows`], with the tokens that [`Backend::sample`] chooses. Their
    /// logits need not be copied to the host.
    fn samples_rows(&self) -> bool {
        false
    }
}

/// The values of all parameters. Training, scoring and sampling share this one copy.
pub trait Weights: Any + Send + Sync {
    /// Returns the names, shapes and places of the parameters.
    fn layout(&self) -> &Arc<ParamLayout>;
    /// Returns the values of `p`: borrowed if the device shares the host's memory, copied otherwise.
    ///
    /// # Panics
    /// Panics if `p` is quantized, which is a bug of the caller.
    fn read(&self, p: Param) -> Result<Cow<'_, [f32]>, Error>;
    /// Calls `f` with the values of `p`, which `f` may change.
    fn update(&mut self, p: Param, f: &mut dyn FnMut(&mut [f32])) -> Result<(), Error>;
    /// Calls `f` with the values in a range of the layout, which `f` may change.
    fn update_range(&mut self, range: Range<usize>, f: &mut dyn FnMut(&mut [f32])) -> Result<(), Error>;
    /// Sets a parameter that is not stored as f32 from ggml blocks (or values in bf16), stored row after row. Row r of
    /// the parameter is row `source(r)` of `blocks`.
    fn write_quantized(
        &mut self,
        p: Param,
        dtype: GgmlType,
        blocks: &[u8],
        source: &(dyn Fn(usize) -> usize + Sync),
    ) -> Result<(), Error>;
    /// Sets a parameter that is stored in blocks from an FP8 matrix of its shape.
    ///
    /// # Panics
    /// Panics if the device does not store FP8 ([`Device::keeps_fp8`]), which is a bug of the caller.
    fn write_fp8(&mut self, p: Param, _matrix: &Fp8Matrix) -> Result<(), Error> {
        panic!("invariant: {} is not FP8 on this device", self.layout().info(p).name)
    }
    /// Returns all values as one block in the layout of [`crate::tape::ParamInfo::range`].
    fn read_all(&self) -> Result<Cow<'_, [f32]>, Error>;
    /// Copies all values to a buffer of [`ParamLayout::total`] values.
    fn snapshot(&self, to: &mut dyn Buffer) -> Result<(), Error>;
    /// Exchanges all values with a buffer of [`ParamLayout::total`] values.
    fn swap(&mut self, with: &mut dyn Buffer) -> Result<(), Error>;
    /// Updates derived copies of the weights (another precision, a packed order). Every pass does this if needed; an
    /// earlier call only moves the cost.
    fn prepare(&mut self, precision: Precision) -> Result<(), Error>;
    /// Returns the size of the f32 values in bytes.
    fn bytes(&self) -> usize;
    /// Returns the size of the quantized blocks in bytes.
    fn quantized_bytes(&self) -> usize;
}

/// A vector of f32 on the device.
pub trait Buffer: Any + Send + Sync {
    /// Returns the number of values.
    fn len(&self) -> usize;
    /// Returns true if there are no values.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Returns the values of a range: borrowed if the device shares the host's memory, copied otherwise.
    fn read(&self, range: Range<usize>) -> Result<Cow<'_, [f32]>, Error>;
    /// Calls `f` with the values of a range, which `f` may change.
    fn update(&mut self, range: Range<usize>, f: &mut dyn FnMut(&mut [f32])) -> Result<(), Error>;
    /// Computes self = self + other; both have the same length.
    fn add(&mut self, other: &dyn Buffer) -> Result<(), Error>;
    /// Sets all values to zero.
    fn zero(&mut self) -> Result<(), Error>;
    /// Computes self = rate · weights + (1 − rate) · self. This mixes a reference policy with the weights (TR-DPO,
    /// arXiv 2404.09656; TRL's `ref_model_mixup_alpha`).
    fn mix(&mut self, weights: &dyn Weights, rate: f32) -> Result<(), Error>;
}

/// The input of a pass.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    /// Input type of matrix products.
    pub precision: Precision,
    /// The rows of the pass.
    pub batch: &'a Batch,
    /// The function that the loss heads minimize.
    pub objective: &'a dyn Objective,
}

impl<'a> Pass<'a> {
    /// A pass whose loss is not used: generation, or scoring.
    pub fn new(precision: Precision, batch: &'a Batch) -> Self {
        Pass { precision, batch, objective: &crate::tape::CrossEntropy { head_scale: [1.0; 2] } }
    }
    /// Returns the same pass with an objective.
    pub fn with_objective(self, objective: &'a dyn Objective) -> Self {
        Pass { objective, ..self }
    }
}

/// Runs a program.
pub trait Executor: Any + Send {
    /// Returns the program.
    fn program(&self) -> &Program;
    /// Runs the forward pass only: scoring (the objective sees every target) and, with a cache, generation.
    fn forward(
        &mut self,
        weights: &mut dyn Weights,
        pass: Pass,
        cache: Option<&mut KvCache>,
    ) -> Result<&Outputs, Error>;
    /// Runs the forward and the backward pass. Adds parameter gradients to `grads`, which has [`ParamLayout::total`]
    /// values.
    fn step(&mut self, weights: &mut dyn Weights, pass: Pass, grads: &mut dyn Buffer) -> Result<&Outputs, Error>;
    /// Returns the results of the last pass.
    fn outputs(&self) -> &Outputs;
    /// Returns the size in bytes of activations, gradients and scratch memory.
    fn bytes(&self) -> usize;
    /// Returns the size in bytes of activations and gradients in passes of this precision, before the first one runs.
    fn planned_bytes(&self, _precision: Precision) -> usize {
        self.bytes()
    }
    /// Starts (or restarts) measuring the time of every op.
    fn start_profile(&mut self);
    /// Returns the times measured since [`Executor::start_profile`].
    fn profile(&self) -> Option<&Profile>;
    /// Returns the values of an activation after the last pass, if the plan kept them (for tests).
    fn values(&self, activation: Activation, rows: usize) -> Result<Vec<f32>, Error>;
    /// Deals the routed experts out to the ranks of `comm`, as [`crate::ops::experts`] describes. From then on every
    /// pass is a collective: all ranks run the same passes in the same order and precision, those without work on an
    /// empty batch. Their programs differ in nothing but the number of rows.
    ///
    /// # Errors
    /// Fails if the number of ranks does not divide that of the experts, or the device has no such exchange.
    fn deal_experts(&mut self, comm: Comm) -> Result<(), Error> {
        let reason = "only the CPU exchanges rows between ranks: use the device cpu".to_owned();
        if comm.size() == 1 { Ok(()) } else { Err(Error::DealExperts { ranks: comm.size(), reason }) }
    }
}

/// The time spent on every op of a program.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// One entry per op.
    pub ops: Vec<OpTime>,
}

impl Profile {
    /// Starts a profile of a program.
    pub(crate) fn new(program: &Program) -> Profile {
        let time = |op: &Op| OpTime { name: op.name(), forward: 0.0, backward: 0.0 };
        Profile { ops: program.ops.iter().map(time).collect() }
    }
}

impl Program {
    /// Fails if the program has activations that are not f32, for devices that execute no others.
    pub(crate) fn check_f32(&self, device: Device) -> Result<(), Error> {
        match self.activations.iter().find(|a| a.dtype != Dtype::F32) {
            Some(a) => Err(Error::Unsupported { device, what: format!("activations in {:?}", a.dtype) }),
            None => Ok(()),
        }
    }
}

/// The time spent on one op: CPU seconds, or device seconds on a GPU.
#[derive(Clone, Copy, Debug)]
pub struct OpTime {
    /// The op's name.
    pub name: &'static str,
    /// Seconds in forward passes, recomputation included.
    pub forward: f64,
    /// Seconds in backward passes.
    pub backward: f64,
}

/// An optimizer and its state.
pub trait Optimizer: Any + Send {
    /// Returns the settings.
    fn config(&self) -> &OptimizerConfig;
    /// Returns the number of steps taken.
    fn steps(&self) -> u64;
    /// Takes one step of the owned parameters with rate `learning_rate` along `scale · grads` (`scale` comes from
    /// [`crate::optim::clip_scale`]), then zeroes all of `grads`.
    fn step(
        &mut self,
        weights: &mut dyn Weights,
        grads: &mut dyn Buffer,
        learning_rate: f32,
        scale: f32,
    ) -> Result<(), Error>;
    /// Returns the moments to checkpoint, with their names: the owned ranges, one after the other. Together with
    /// [`Optimizer::steps`] they are the whole state.
    fn state(&self) -> [(&'static str, &dyn Buffer); 2];
    /// Continues from a checkpointed state: the number of steps, then the moments in the order of [`Optimizer::state`].
    fn restore(&mut self, steps: u64, moments: [&[f32]; 2]) -> Result<(), Error>;
}

/// Returns the bytes of a row of the quantized parameter `p`, for [`Weights::write_quantized`].
///
/// # Panics
/// Panics if `p` is stored as f32 or `blocks` does not have its shape; both are bugs of the caller.
pub(crate) fn quantized_row_bytes(layout: &ParamLayout, p: Param, dtype: GgmlType, blocks: &[u8]) -> usize {
    assert!(layout.storage(p) != Storage::F32, "invariant: {} was marked as quantized", layout.info(p).name);
    let [rows, cols] = layout.info(p).matrix_shape();
    assert!(cols.is_multiple_of(dtype.block_elements()), "invariant: a row of {cols} is whole blocks");
    let row_bytes = cols / dtype.block_elements() * dtype.block_bytes();
    assert!(blocks.len() == rows * row_bytes, "invariant: {rows} rows of {row_bytes} bytes");
    row_bytes
}

/// Downcasts an object to the type of the backend that uses it.
pub(crate) fn own<T: 'static>(object: &dyn Any) -> &T {
    object.downcast_ref().expect("invariant: objects of one backend are used together")
}

/// Like [`own`], but mutable.
pub(crate) fn own_mut<T: 'static>(object: &mut dyn Any) -> &mut T {
    object.downcast_mut().expect("invariant: objects of one backend are used together")
}

#[cfg(test)]
mod tests;
