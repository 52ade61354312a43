//! The reference backend: every op in scalar loops, on one thread, with sums in f64 and storage in f32.
//!
//! It shares no kernel with another backend, so agreement with it is meaningful. It returns copies wherever the traits
//! allow it, as a device with its own memory does. It is slow. In debug builds it fills memory with NaN before an op
//! writes it, so that a wrong memory plan becomes visible.

mod buffer;
mod context;
mod executor;
mod kv_store;
mod log_softmax;
mod math;
mod ops;
mod optim;
mod weights;

use crate::backend::{self, Backend, Error, own};
use crate::device::Device;
use crate::kv_cache::{KvType, LayerSpec};
use crate::log_softmax::LogSoftmax;
use crate::ops::Program;
use crate::optim::OptimizerConfig;
use crate::tape::ParamLayout;
use buffer::Block;
use std::ops::Range;
use std::sync::Arc;

/// The reference device.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

impl Backend for Reference {
    fn device(&self) -> Device {
        Device::Reference
    }
    fn weights(&self, layout: Arc<ParamLayout>) -> Result<Box<dyn backend::Weights>, Error> {
        Ok(Box::new(weights::ReferenceWeights::new(layout)?))
    }
    fn buffer(&self, len: usize) -> Result<Box<dyn backend::Buffer>, Error> {
        Ok(Box::new(Block::new(len, "a copy of the parameters")?))
    }
    fn executor(&self, program: Program) -> Result<Box<dyn backend::Executor>, Error> {
        Ok(Box::new(executor::ReferenceExecutor::new(program)?))
    }
    fn kv_store(
        &self,
        layers: &[LayerSpec],
        kv_type: KvType,
        pages: usize,
    ) -> Result<Box<dyn backend::KvStore>, Error> {
        Ok(Box::new(kv_store::ReferenceKvStore::new(layers, kv_type, pages)?))
    }
    fn optimizer(
        &self,
        config: OptimizerConfig,
        layout: &ParamLayout,
        owned: &[Range<usize>],
    ) -> Result<Box<dyn backend::Optimizer>, Error> {
        Ok(Box::new(optim::ReferenceOptimizer::new(config, layout, owned)?))
    }
    fn gradient_squares(
        &self,
        layout: &ParamLayout,
        grads: &dyn backend::Buffer,
        range: Range<usize>,
        squares: &mut Vec<f64>,
    ) -> Result<(), Error> {
        squares.extend(optim::gradient_squares(layout, &own::<Block>(grads).values, range));
        Ok(())
    }
    fn log_softmax(&self, logits: &mut [f32], inv_temperature: f32) -> LogSoftmax {
        log_softmax::exp_row(logits, inv_temperature)
    }
    fn normalizer(&self, logits: &[f32], inv_temperature: f32) -> LogSoftmax {
        log_softmax::log_softmax_row(logits, inv_temperature)
    }
}
