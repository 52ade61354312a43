//! The boundary between programs and devices: what a backend provides. Everything above this crate uses these traits
//! and [`crate::device::Device`]; nothing above knows in which address space weights and activations lie.
//!
//! A backend owns its memory behind [`Weights`], [`Buffer`], [`KvStore`] and [`Executor`]. Objects of one backend work
//! together; passing one to another backend is a bug and panics.

use crate::device::Device;
use crate::kv_cache::{KvCache, KvType, LayerSpec};
use crate::log_softmax::LogSoftmax;
use crate::optim::OptimizerConfig;
use crate::precision::Precision;
use crate::quant::GgmlType;
use crate::tape::{Activation, Batch, Objective, Outputs, Param, ParamLayout, Program};
use std::any::Any;
use std::borrow::Cow;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

/// Why a device cannot do what is asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The device has no memory left.
    #[error("{device}: out of memory: {bytes} bytes for {what}")]
    OutOfMemory {
        /// The device.
        device: Device,
        /// Bytes asked for.
        bytes: usize,
        /// What they are for.
        what: &'static str,
    },
    /// The device lacks something that the program or the model needs.
    #[error("{device} does not support {what}; use another device")]
    Unsupported {
        /// The device.
        device: Device,
        /// What it lacks.
        what: String,
    },
    /// A checkpoint's optimizer state belongs to another network.
    #[error("optimizer state '{name}' has {got} values, the network needs {expected}: it belongs to another network")]
    OptimizerState {
        /// The name of the moment.
        name: &'static str,
        /// Its number of values.
        got: usize,
        /// The number of values that the network needs.
        expected: usize,
    },
}

/// A device that executes programs.
pub trait Backend: Send + Sync + Debug {
    /// The device.
    fn device(&self) -> Device;
    /// Zeroed weights in this layout. Quantized parameters get their blocks by [`Weights::write_quantized`].
    fn weights(&self, layout: Arc<ParamLayout>) -> Result<Box<dyn Weights>, Error>;
    /// A zeroed vector of `len` values of f32: gradients, a copy of the weights.
    fn buffer(&self, len: usize) -> Result<Box<dyn Buffer>, Error>;
    /// Memory and kernels for a program.
    fn executor(&self, program: Program) -> Result<Box<dyn Executor>, Error>;
    /// Memory for the keys and values of `pages` pages ([`crate::tape::PAGE`] tokens each) in every layer.
    fn kv_store(&self, layers: &[LayerSpec], kv_type: KvType, pages: usize) -> Result<Box<dyn KvStore>, Error>;
    /// A new optimizer of the trainable parameters.
    fn optimizer(&self, config: OptimizerConfig, layout: &ParamLayout) -> Result<Box<dyn Optimizer>, Error>;
    /// √Σ g² over the gradients of all trainable parameters. Its bits do not depend on the number of threads.
    fn gradient_norm(&self, layout: &ParamLayout, grads: &dyn Buffer) -> Result<f64, Error>;
    /// Normalizes one row of logits with the arithmetic of this device's loss head, and leaves exp(z − max) in the row:
    /// a sampled token's log-probability then has the bits that scoring gives it.
    fn log_softmax(&self, logits: &mut [f32], inv_temperature: f32) -> LogSoftmax;
    /// As [`Backend::log_softmax`], same bits, and leaves the row as it is.
    fn normalizer(&self, logits: &[f32], inv_temperature: f32) -> LogSoftmax {
        self.log_softmax(&mut logits.to_vec(), inv_temperature)
    }
}

/// The values of all parameters: the one copy that trains, scores and samples.
pub trait Weights: Any + Send + Sync {
    /// Names, shapes and places.
    fn layout(&self) -> &Arc<ParamLayout>;
    /// The values of `p`: borrowed where the device shares the host's memory, copied otherwise.
    ///
    /// # Panics
    /// If `p` is quantized: a bug.
    fn read(&self, p: Param) -> Result<Cow<'_, [f32]>, Error>;
    /// Calls `f` with the values of `p`, to change them.
    fn update(&mut self, p: Param, f: &mut dyn FnMut(&mut [f32])) -> Result<(), Error>;
    /// Sets a quantized parameter from ggml blocks, the rows one after the other. Row r of the parameter is row
    /// `source(r)` of `blocks`.
    fn write_quantized(
        &mut self,
        p: Param,
        dtype: GgmlType,
        blocks: &[u8],
        source: &(dyn Fn(usize) -> usize + Sync),
    ) -> Result<(), Error>;
    /// Everything as one block in the layout of [`crate::tape::ParamInfo::range`].
    fn read_all(&self) -> Result<Cow<'_, [f32]>, Error>;
    /// Copies everything to a buffer of [`ParamLayout::total`] values.
    fn snapshot(&self, to: &mut dyn Buffer) -> Result<(), Error>;
    /// Exchanges everything with a buffer of [`ParamLayout::total`] values.
    fn swap(&mut self, with: &mut dyn Buffer) -> Result<(), Error>;
    /// Brings derived copies (another precision, a packed order) up to date. Every pass does it; calling it earlier only
    /// moves the time.
    fn prepare(&mut self, precision: Precision) -> Result<(), Error>;
    /// Bytes of the f32 values.
    fn bytes(&self) -> usize;
    /// Bytes of the quantized blocks.
    fn quantized_bytes(&self) -> usize;
}

/// A vector of f32 on the device.
pub trait Buffer: Any + Send + Sync {
    /// Number of values.
    fn len(&self) -> usize;
    /// Whether there are no values.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The values of a range: borrowed where the device shares the host's memory, copied otherwise.
    fn read(&self, range: Range<usize>) -> Result<Cow<'_, [f32]>, Error>;
    /// Calls `f` with the values of a range, to change them.
    fn update(&mut self, range: Range<usize>, f: &mut dyn FnMut(&mut [f32])) -> Result<(), Error>;
    /// self = rate · weights + (1 − rate) · self: the mixing of a reference policy (TR-DPO, arXiv 2404.09656; TRL's
    /// `ref_model_mixup_alpha`).
    fn mix(&mut self, weights: &dyn Weights, rate: f32) -> Result<(), Error>;
}

/// Keys and values of all layers, by page.
pub trait KvStore: Any + Send {
    /// The sizes of every layer.
    fn layers(&self) -> &[LayerSpec];
    /// How numbers are stored.
    fn kv_type(&self) -> KvType;
    /// Names the order of the words of a page, so that a file is only read by a store with the same order.
    fn page_format(&self) -> &'static str;
    /// 32-bit words of a page over all layers.
    fn page_words(&self) -> usize;
    /// The words of a page.
    fn read_page(&self, page: u32, f: &mut dyn FnMut(&[u32])) -> Result<(), Error>;
    /// Replaces the words of a page.
    fn write_page(&mut self, page: u32, words: &[u32]) -> Result<(), Error>;
    /// Copies a page.
    fn copy_page(&mut self, from: u32, to: u32) -> Result<(), Error>;
    /// Bytes of memory when full.
    fn bytes(&self) -> usize;
}

/// What a pass computes on.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    /// The input type of matrix products.
    pub precision: Precision,
    /// The rows.
    pub batch: &'a Batch,
    /// What the loss heads minimize.
    pub objective: &'a dyn Objective,
}

impl<'a> Pass<'a> {
    /// A pass without a loss of interest: generation, or scoring.
    pub fn new(precision: Precision, batch: &'a Batch) -> Self {
        Pass { precision, batch, objective: &crate::tape::CrossEntropy { head_scale: [1.0; 2] } }
    }
    /// The same pass with an objective.
    pub fn with_objective(self, objective: &'a dyn Objective) -> Self {
        Pass { objective, ..self }
    }
}

/// Runs a program.
pub trait Executor: Any + Send {
    /// The program.
    fn program(&self) -> &Program;
    /// Forward only: scoring (the objective sees every target) and, with a cache, generation.
    fn forward(
        &mut self,
        weights: &mut dyn Weights,
        pass: Pass,
        cache: Option<&mut KvCache>,
    ) -> Result<&Outputs, Error>;
    /// Forward and backward. Parameter gradients are added to `grads`, which has [`ParamLayout::total`] values.
    fn step(&mut self, weights: &mut dyn Weights, pass: Pass, grads: &mut dyn Buffer) -> Result<&Outputs, Error>;
    /// What the last pass computed.
    fn outputs(&self) -> &Outputs;
    /// Bytes of activations, gradients and scratch memory.
    fn bytes(&self) -> usize;
    /// Starts (or restarts) measuring every op.
    fn start_profile(&mut self);
    /// What was measured since [`Executor::start_profile`].
    fn profile(&self) -> Option<&Profile>;
    /// The values of an activation after the last pass, where the plan kept them (for tests).
    fn values(&self, activation: Activation, rows: usize) -> Result<Vec<f32>, Error>;
}

/// Time spent on every op of a program.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// By op.
    pub ops: Vec<OpTime>,
}

/// Time spent on one op: CPU seconds, or device seconds on a GPU.
#[derive(Clone, Copy, Debug)]
pub struct OpTime {
    /// The op's name.
    pub name: &'static str,
    /// Seconds of forward passes, recomputation included.
    pub forward: f64,
    /// Seconds of backward passes.
    pub backward: f64,
}

/// An optimizer and its state.
pub trait Optimizer: Any + Send {
    /// Its settings.
    fn config(&self) -> &OptimizerConfig;
    /// How many steps were taken.
    fn steps(&self) -> u64;
    /// Takes one step of rate `learning_rate` along `scale · grads` (`scale` from [`crate::optim::clip_scale`]), and
    /// zeroes `grads`.
    fn step(
        &mut self,
        weights: &mut dyn Weights,
        grads: &mut dyn Buffer,
        learning_rate: f32,
        scale: f32,
    ) -> Result<(), Error>;
    /// The moments to checkpoint, by name; with [`Optimizer::steps`] they are the whole state.
    fn state(&self) -> [(&'static str, &dyn Buffer); 2];
    /// Continues from a checkpointed state: number of steps, then the moments in the order of [`Optimizer::state`].
    fn restore(&mut self, steps: u64, moments: [&[f32]; 2]) -> Result<(), Error>;
}

/// `weights` as the type of the backend that uses them.
pub(crate) fn own<T: 'static>(object: &dyn Any) -> &T {
    object.downcast_ref().expect("invariant: objects of one backend are used together")
}

/// As [`own`], to change.
pub(crate) fn own_mut<T: 'static>(object: &mut dyn Any) -> &mut T {
    object.downcast_mut().expect("invariant: objects of one backend are used together")
}

#[cfg(test)]
mod tests;
