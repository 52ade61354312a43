//! Optimizers and the gradient norm on the card.

use super::buffer::CudaBuffer;
use super::driver::Gpu;
use crate::backend::{Buffer, Error, Optimizer, Weights};
use crate::optim::OptimizerConfig;
use crate::tape::ParamLayout;
use std::sync::Arc;

/// Returns the norm of the gradients of all trainable parameters.
pub(super) fn gradient_norm(_layout: &ParamLayout, _grads: &CudaBuffer) -> Result<f64, Error> {
    todo!()
}

/// An optimizer and its state.
pub(super) struct CudaOptimizer {
    config: OptimizerConfig,
    steps: u64,
    /// AdamW's first moment, Muon's momentum.
    first: CudaBuffer,
    /// AdamW's second moment.
    second: CudaBuffer,
}

impl CudaOptimizer {
    pub(super) fn new(gpu: &Arc<Gpu>, config: OptimizerConfig, layout: &ParamLayout) -> Result<Self, Error> {
        let moment = || CudaBuffer::new(gpu, layout.total(), "the optimizer's state");
        Ok(CudaOptimizer { config, steps: 0, first: moment()?, second: moment()? })
    }
}

impl Optimizer for CudaOptimizer {
    fn config(&self) -> &OptimizerConfig {
        &self.config
    }
    fn steps(&self) -> u64 {
        self.steps
    }
    fn step(
        &mut self,
        _weights: &mut dyn Weights,
        _grads: &mut dyn Buffer,
        _learning_rate: f32,
        _scale: f32,
    ) -> Result<(), Error> {
        todo!()
    }
    fn state(&self) -> [(&'static str, &dyn Buffer); 2] {
        [("exp_avg", &self.first), ("exp_avg_sq", &self.second)]
    }
    fn restore(&mut self, steps: u64, moments: [&[f32]; 2]) -> Result<(), Error> {
        for ((name, own), state) in [("exp_avg", &self.first), ("exp_avg_sq", &self.second)].into_iter().zip(moments) {
            if state.len() != own.len() {
                return Err(Error::OptimizerState { name, got: state.len(), expected: own.len() });
            }
            own.memory.write(0, state)?;
        }
        self.steps = steps;
        Ok(())
    }
}
