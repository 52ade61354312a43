//! The CPU backend: kernels for several instruction sets, chosen at run time and spread over threads.
//!
//! This module implements the numerics contract (`docs/numerics.md`): an output element is one chain of fused
//! multiply-adds in the order of k, in fixed blocks of k. The batch, the chunking of the prompt and the number of
//! threads do not change it.

mod context;
mod executor;
mod expert_parallel;
pub mod features;
pub mod gemm;
mod head_memory;
mod host_buffer;
pub(crate) mod isa;
pub mod kv_store;
mod ops;
pub mod optim;
pub mod quant;
pub mod roofline;
pub(crate) mod row_kernels;
pub mod simd;
mod time;
mod weights;

pub use host_buffer::HostBuffer;
pub use time::cpu_seconds;

use crate::backend::{self, Backend, Error, own};
use crate::device::Device;
use crate::kv_cache::{KvType, LayerSpec};
use crate::log_softmax::LogSoftmax;
use crate::ops::Program;
use crate::optim::OptimizerConfig;
use crate::tape::ParamLayout;
use std::ops::Range;
use std::sync::Arc;

/// The CPU.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu;

/// Returns the bytes that an executor of this program allocates.
pub(crate) fn planned_bytes(program: &Program) -> usize {
    executor::planned_bytes(program)
}

impl Backend for Cpu {
    fn device(&self) -> Device {
        Device::Cpu
    }
    fn weights(&self, layout: Arc<ParamLayout>) -> Result<Box<dyn backend::Weights>, Error> {
        Ok(Box::new(weights::CpuWeights::new(layout)?))
    }
    fn buffer(&self, len: usize) -> Result<Box<dyn backend::Buffer>, Error> {
        Ok(Box::new(HostBuffer::new(len, "a copy of the parameters")?))
    }
    fn executor(&self, program: Program) -> Result<Box<dyn backend::Executor>, Error> {
        Ok(Box::new(executor::CpuExecutor::new(program)?))
    }
    fn kv_store(
        &self,
        layers: &[LayerSpec],
        kv_type: KvType,
        pages: usize,
    ) -> Result<Box<dyn backend::KvStore>, Error> {
        Ok(Box::new(kv_store::CpuKvStore::new(layers, kv_type, pages)?))
    }
    fn optimizer(
        &self,
        config: OptimizerConfig,
        layout: &ParamLayout,
        owned: &[Range<usize>],
    ) -> Result<Box<dyn backend::Optimizer>, Error> {
        Ok(Box::new(optim::CpuOptimizer::new(config, layout, owned)?))
    }
    fn gradient_squares(
        &self,
        layout: &ParamLayout,
        grads: &dyn backend::Buffer,
        range: Range<usize>,
        squares: &mut Vec<f64>,
    ) -> Result<(), Error> {
        optim::norm::gradient_squares(layout, own::<HostBuffer>(grads), range, squares);
        Ok(())
    }
    fn log_softmax(&self, logits: &mut [f32], inv_temperature: f32) -> LogSoftmax {
        ops::log_softmax::exp_row(logits, inv_temperature)
    }
    fn normalizer(&self, logits: &[f32], inv_temperature: f32) -> LogSoftmax {
        ops::log_softmax::log_softmax_row(logits, inv_temperature)
    }
}
