//! Estimates the memory of a run before it starts, from its programs' memory plans instead of a rule of thumb.

use crate::error::Error;
use crate::grpo::Grpo;
use crate::rollout::generator;
use crate::trainer::{Train, Trainer, TrainerMemory};
use meno_model::Model;
use meno_tensor::precision::Precision;

/// Bytes by purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Purpose and number of bytes.
    pub parts: Vec<(&'static str, usize)>,
}

impl Estimate {
    /// Estimates the memory for training `model`; with GRPO, also for generation.
    pub fn new(model: &Model, train: &Train, mtp: bool, grpo: Option<&Grpo>) -> Result<Estimate, Error> {
        let values = model.weights.bytes();
        let trainer = Trainer::new(train, model, mtp)?;
        let packed = match train.precision {
            Precision::F32 => values,
            Precision::Bf16 => values / 2,
        };
        let mut parts = vec![("weights (f32)", values), ("packed copies of linear weights", packed)];
        let TrainerMemory { gradients, optimizer, activations } = trainer.memory();
        parts.extend([
            ("gradients", gradients),
            ("optimizer state", optimizer),
            ("activations of a pass", activations),
        ]);
        if let Some(grpo) = grpo {
            let config = grpo.rollout_config(train, Vec::new());
            parts.push((
                "KV cache and activations of generation",
                generator(model, &config, grpo.max_prompt_length)?.bytes(),
            ));
            if grpo.beta > 0.0 {
                parts.push(("reference model", values));
            }
        }
        Ok(Estimate { parts })
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
        write!(f, "{:>10.3} GiB  in total, at most", gib(self.total()))
    }
}
