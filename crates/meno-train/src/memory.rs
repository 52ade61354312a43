//! Estimates the memory of a run before it starts, from its programs' memory plans instead of a rule of thumb.

use crate::error::Error;
use crate::grpo::Grpo;
use crate::rollout::generator;
use crate::train::Train;
use crate::trainer::{Trainer, TrainerMemory};
use meno_comm::Comm;
use meno_model::Model;
use meno_tensor::device::Device;
use meno_tensor::precision::Precision;

/// Bytes by purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Purpose and number of bytes.
    pub parts: Vec<(&'static str, usize)>,
    /// The device and its memory in bytes, if it has memory of its own.
    pub device: Option<(Device, usize)>,
}

/// Returns the name and the bytes of the copies of weights that products of this precision need on a device. `values`
/// is the size of the weights in f32.
pub(crate) fn copies_of_weights(device: Device, precision: Precision, values: usize) -> (&'static str, usize) {
    match (device.has_own_memory(), precision) {
        (false, Precision::F32) => ("packed copies of linear weights", values),
        (false, Precision::Bf16) => ("packed copies of linear weights", values / 2),
        (true, Precision::F32) => ("copies of weights", 0),
        (true, Precision::Bf16) => ("copies of weights in bf16", values / 2),
    }
}

impl Estimate {
    /// Estimates the memory of the weights of `model`, with the copies that products of this precision need.
    pub fn of_weights(model: &Model, precision: Precision) -> Result<Estimate, Error> {
        let (values, quantized) = (model.weights.bytes(), model.weights.quantized_bytes());
        let copies = copies_of_weights(model.backend().device(), precision, values);
        let parts = vec![("weights (f32)", values), ("weights in bf16 or quantized", quantized), copies];
        let memory = model.backend().memory()?;
        let device = memory.map(|[_, total]| (model.backend().device(), total));
        Ok(Estimate { parts: parts.into_iter().filter(|part| part.1 > 0).collect(), device })
    }

    /// Estimates the memory for training `model` on one of the ranks `comm`; with GRPO, also for generation.
    pub fn new(model: &Model, train: &Train, mtp: bool, grpo: Option<&Grpo>, comm: &Comm) -> Result<Estimate, Error> {
        let trainer = Trainer::new(train, model, mtp, comm)?;
        let mut estimate = Estimate::of_weights(model, train.precision)?;
        let TrainerMemory { gradients, optimizer, activations } = trainer.memory();
        estimate.parts.extend([
            ("gradients", gradients),
            ("optimizer state", optimizer),
            ("activations of a pass", activations),
        ]);
        if let Some(grpo) = grpo {
            let config = grpo.rollout_config(train, Vec::new());
            let generation = generator(model, &config, grpo.max_prompt_length)?.bytes();
            estimate.parts.push(("KV cache and activations of generation", generation));
            if grpo.beta > 0.0 {
                estimate.parts.push(("reference model", model.weights.bytes()));
            }
        }
        Ok(estimate)
    }

    /// Returns the sum of all parts.
    pub fn total(&self) -> usize {
        self.parts.iter().map(|p| p.1).sum()
    }
}

impl std::fmt::Display for Estimate {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let gib = |bytes: usize| bytes as f64 / (1u64 << 30) as f64;
        for (what, bytes) in &self.parts {
            writeln!(f, "{:>10.3} GiB  {what}", gib(*bytes))?;
        }
        write!(f, "{:>10.3} GiB  in total, at most", gib(self.total()))?;
        match self.device {
            Some((device, memory)) => write!(f, "; {device} has {:.3} GiB", gib(memory)),
            None => Ok(()),
        }
    }
}
