//! The CUDA backend: NVIDIA GPUs of compute capability 8.0 or later, with nothing but the driver installed.
//!
//! Weights, activations and the KV cache stay in the card's memory. An op is a few kernel launches (`cuda/ops`); the
//! kernels are compiled ahead of time and embedded (`cuda/kernels`). docs/gpu.md describes precision, the numerics
//! contract and how to build the kernels.

mod batch;
mod blocks;
mod buffer;
mod cards;
mod columns;
mod context;
mod driver;
mod dtypes;
mod executor;
mod kernels;
mod kv_store;
mod launch;
mod log_softmax;
mod measure;
mod ops;
mod optim;
mod product;
mod product_kernels;
mod product_sm90;
mod recordings;
mod results;
mod rope_tables;
mod sampling;
mod weights;

pub use cards::{Card, cards};
#[cfg(any(test, feature = "testing"))]
pub(crate) use cards::{driver_is_installed, preload_driver};

use crate::backend::{self, Backend, Error, own};
use crate::device::Device;
use crate::kv_cache::{KvType, LayerSpec};
use crate::log_softmax::LogSoftmax;
use crate::ops::Program;
use crate::optim::OptimizerConfig;
use crate::precision::Precision;
use crate::sampling::{SampledToken, Scratch, TokenSampling};
use crate::tape::ParamLayout;
use driver::Gpu;
use std::ops::Range;
use std::sync::Arc;

/// An NVIDIA GPU.
#[derive(Clone, Debug)]
pub struct Cuda {
    gpu: Arc<Gpu>,
}

impl Cuda {
    /// Opens card `number`.
    ///
    /// # Errors
    /// Returns [`Error::Unavailable`] if there is no such card, no driver, or if either is too old.
    pub fn open(number: usize) -> Result<Cuda, Error> {
        Ok(Cuda { gpu: Gpu::open(number)? })
    }
}

/// Returns the bytes of activations and gradients in passes of this precision; no card is needed.
pub(crate) fn planned_bytes(program: &Program, precision: Precision) -> usize {
    dtypes::planned_bytes(program, precision)
}

impl Backend for Cuda {
    fn device(&self) -> Device {
        self.gpu.device()
    }
    fn weights(&self, layout: Arc<ParamLayout>) -> Result<Box<dyn backend::Weights>, Error> {
        Ok(Box::new(weights::CudaWeights::new(&self.gpu, layout)?))
    }
    fn buffer(&self, len: usize) -> Result<Box<dyn backend::Buffer>, Error> {
        Ok(Box::new(buffer::CudaBuffer::new(&self.gpu, len, "a copy of the parameters")?))
    }
    fn executor(&self, program: Program) -> Result<Box<dyn backend::Executor>, Error> {
        Ok(Box::new(executor::CudaExecutor::new(&self.gpu, program)?))
    }
    fn kv_store(
        &self,
        layers: &[LayerSpec],
        kv_type: KvType,
        pages: usize,
    ) -> Result<Box<dyn backend::KvStore>, Error> {
        Ok(Box::new(kv_store::CudaKvStore::new(&self.gpu, layers, kv_type, pages)?))
    }
    fn optimizer(
        &self,
        config: OptimizerConfig,
        layout: &ParamLayout,
        owned: &[Range<usize>],
    ) -> Result<Box<dyn backend::Optimizer>, Error> {
        Ok(Box::new(optim::CudaOptimizer::new(&self.gpu, config, layout, owned)?))
    }
    fn gradient_squares(
        &self,
        layout: &ParamLayout,
        grads: &dyn backend::Buffer,
        range: Range<usize>,
        squares: &mut Vec<f64>,
    ) -> Result<(), Error> {
        squares.extend(optim::gradient_squares(layout, own(grads), range)?);
        Ok(())
    }
    fn memory(&self) -> Result<Option<[usize; 2]>, Error> {
        Ok(Some([self.gpu.free_memory()?, self.gpu.card.memory]))
    }
    fn synchronize(&self) -> Result<(), Error> {
        self.gpu.synchronize()
    }
    fn log_softmax(&self, logits: &mut [f32], inv_temperature: f32) -> LogSoftmax {
        log_softmax::exp_row(logits, inv_temperature)
    }
    fn normalizer(&self, logits: &[f32], inv_temperature: f32) -> LogSoftmax {
        log_softmax::log_softmax_row(logits, inv_temperature)
    }
    fn sample(&self, logits: &[f32], sampling: &TokenSampling, scratch: &mut Scratch) -> SampledToken {
        sampling::sample(logits, sampling, scratch)
    }
    fn samples_rows(&self) -> bool {
        true
    }
}
