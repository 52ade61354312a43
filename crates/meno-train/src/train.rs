//! Settings common to all stages of training: `[train]` of a recipe.

use crate::error::Error;
use crate::limits::{AT_LEAST_ONE, BELOW_ONE, FRACTION, NOT_NEGATIVE, POSITIVE, refused, within};
use crate::lr_schedule::{LrSchedule, LrSchedulerType};
use meno_tensor::optim::{OptimizerConfig, OptimizerKind};
use meno_tensor::precision::Precision;
use serde::{Deserialize, Serialize};

/// Settings common to all stages: `[train]` of a recipe. Names are those of Hugging Face's `TrainingArguments`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Train {
    /// Optimizer steps.
    pub max_steps: usize,
    /// Peak learning rate.
    pub learning_rate: f32,
    /// Shape of the learning rate: constant, linear, cosine, v3 or wsd.
    pub lr_scheduler_type: LrSchedulerType,
    /// Optimizer steps of linear warm-up.
    pub warmup_steps: usize,
    /// Final learning rate, as a fraction of the peak.
    pub min_lr_rate: f32,
    /// Fraction of the run at which the decay begins (v3, wsd).
    pub decay_start: f32,
    /// Fraction of the run at which the decay ends (v3).
    pub decay_end: f32,
    /// adamw or muon.
    pub optim: Optim,
    /// β1 of AdamW.
    pub adam_beta1: f32,
    /// β2 of AdamW.
    pub adam_beta2: f32,
    /// ε of AdamW.
    pub adam_epsilon: f32,
    /// Decoupled weight decay of matrices, per step: w −= rate · decay · w.
    pub weight_decay: f32,
    /// Momentum of Muon.
    pub muon_momentum: f32,
    /// Gradient norm above which gradients are scaled down; 0 disables clipping.
    pub max_grad_norm: f32,
    /// Maximum tokens per pass over the network; limits the memory of activations. Every sequence must fit.
    pub max_tokens: usize,
    /// Recompute every block's activations in the backward pass instead of storing them.
    pub gradient_checkpointing: bool,
    /// Input type of the linear layers' GEMMs: f32 or bf16. Accumulation and master weights are f32.
    pub precision: Precision,
    /// Shards of an optimizer step, a power of two: their gradients are added in a fixed tree, so a run has the same
    /// bits for any number of processes that divides it.
    pub gradient_shards: usize,
    /// How gradients of several processes are added: ordered (same bits for any number of processes) or fast.
    pub reduce: Reduce,
    /// Deal the experts of every layer out to the processes (pretrain and sft): each holds and computes its own.
    pub expert_parallel: bool,
    /// Seed of all random numbers: order of the data, sampling.
    pub seed: u64,
}

/// An optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Optim {
    /// AdamW everywhere.
    #[default]
    Adamw,
    /// Muon on the matrices of hidden layers, AdamW on embeddings, head and gains (Moonlight §2).
    Muon,
}

impl Default for Train {
    fn default() -> Self {
        Train {
            max_steps: 1000,
            learning_rate: 3e-4,
            lr_scheduler_type: LrSchedulerType::Cosine,
            warmup_steps: 0,
            min_lr_rate: 0.1,
            decay_start: 0.8,
            decay_end: 1.0,
            optim: Optim::Adamw,
            adam_beta1: 0.9,
            adam_beta2: 0.95,
            adam_epsilon: 1e-8,
            weight_decay: 0.1,
            muon_momentum: 0.95,
            max_grad_norm: 1.0,
            max_tokens: 2048,
            gradient_checkpointing: false,
            precision: Precision::F32,
            gradient_shards: 1,
            reduce: Reduce::Ordered,
            expert_parallel: false,
            seed: 0,
        }
    }
}

impl Train {
    /// Returns the learning rate of optimizer step `step`, counted from 0.
    pub fn learning_rate_at(&self, step: usize) -> f32 {
        let schedule = LrSchedule {
            kind: self.lr_scheduler_type,
            warmup_steps: self.warmup_steps,
            max_steps: self.max_steps,
            min_lr_rate: self.min_lr_rate,
            decay_start: self.decay_start,
            decay_end: self.decay_end,
        };
        self.learning_rate * schedule.factor(step)
    }

    /// Returns the optimizer that these settings describe.
    pub fn optimizer(&self) -> OptimizerConfig {
        OptimizerConfig {
            kind: match self.optim {
                Optim::Adamw => OptimizerKind::AdamW,
                Optim::Muon => OptimizerKind::Muon,
            },
            adam_beta1: self.adam_beta1,
            adam_beta2: self.adam_beta2,
            adam_epsilon: self.adam_epsilon,
            weight_decay: self.weight_decay,
            muon_momentum: self.muon_momentum,
        }
    }

    /// Fails if `size` processes cannot share the shards of a step.
    pub fn check_processes(&self, size: usize) -> Result<(), Error> {
        const MOST: usize = 1 << 16;
        let count = self.gradient_shards;
        let refuse = |expected: String| Err(refused("train.gradient_shards", count, expected));
        if !count.is_power_of_two() || count > MOST {
            return refuse(format!("expected a power of two, at most {MOST}: 1, 2, 4, …"));
        }
        match count.is_multiple_of(size) {
            true => Ok(()),
            false if size.is_power_of_two() => {
                refuse(format!("expected a multiple of {size}, the number of processes"))
            }
            false => refuse(format!("{size} processes were started, expected a power of two: 1, 2, 4, …")),
        }
    }

    /// Checks the settings.
    pub fn check(&self) -> Result<(), Error> {
        within(AT_LEAST_ONE, &[("train.max_steps", self.max_steps as f64)])?;
        let not_negative = [
            ("train.learning_rate", self.learning_rate),
            ("train.weight_decay", self.weight_decay),
            ("train.max_grad_norm", self.max_grad_norm),
        ];
        within(NOT_NEGATIVE, &not_negative.map(|(key, v)| (key, v.into())))?;
        let fractions = [
            ("train.min_lr_rate", self.min_lr_rate),
            ("train.decay_start", self.decay_start),
            ("train.decay_end", self.decay_end),
        ];
        within(FRACTION, &fractions.map(|(key, v)| (key, v.into())))?;
        let momenta = [
            ("train.adam_beta1", self.adam_beta1),
            ("train.adam_beta2", self.adam_beta2),
            ("train.muon_momentum", self.muon_momentum),
        ];
        within(BELOW_ONE, &momenta.map(|(key, v)| (key, v.into())))?;
        within(POSITIVE, &[("train.adam_epsilon", self.adam_epsilon.into())])?;
        within(AT_LEAST_ONE, &[("train.max_tokens", self.max_tokens as f64)])?;
        if self.decay_start > self.decay_end {
            let expected = format!("expected at most `train.decay_end` = {}", self.decay_end);
            return Err(refused("train.decay_start", self.decay_start, expected));
        }
        Ok(())
    }
}

/// How the gradients of several ranks are added: `train.reduce`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Reduce {
    /// In a fixed tree: the bits do not depend on the number of ranks.
    #[default]
    Ordered,
    /// By the all-reduce of MPI: the bits depend on the number of ranks.
    Fast,
}
