//! The memory of a rank, from the layout of the network and the memory plans of its programs.

use super::cluster::Cluster;
use super::device::Speed;
use super::work::Work;
use crate::error::Error;
use crate::memory::copies_of_weights;
use crate::train::Reduce;
use meno_engine::GeneratorConfig;
use meno_model::{Arch, Config, Model, TrainOptions};
use serde::Serialize;
use std::ops::AddAssign;

/// The memory of the rank that needs most.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MemoryPlan {
    /// Bytes by purpose.
    pub parts: Vec<MemoryPart>,
    /// Their sum.
    pub total: u64,
    /// The memory of the device.
    pub available: u64,
}

/// Bytes by purpose.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemoryPart {
    /// The purpose.
    pub name: &'static str,
    /// Number of bytes.
    pub bytes: u64,
    /// How it is divided over ranks.
    pub note: String,
}

impl MemoryPlan {
    /// Returns true if it exceeds the memory of the device.
    pub fn exceeds(&self) -> bool {
        self.total > self.available
    }

    /// Returns the bytes of a part, 0 if there is none.
    pub fn bytes(&self, name: &str) -> u64 {
        self.parts.iter().find(|part| part.name == name).map_or(0, |part| part.bytes)
    }

    fn push(&mut self, name: &'static str, bytes: usize, note: impl Into<String>) {
        if bytes > 0 {
            self.parts.push(MemoryPart { name, bytes: bytes as u64, note: note.into() });
            self.total += bytes as u64;
        }
    }
}

/// Numbers of parameters, with the padding of the layout: of routed experts, and all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Values {
    pub(super) dense: usize,
    pub(super) experts: usize,
}

impl AddAssign for Values {
    fn add_assign(&mut self, other: Values) {
        self.dense += other.dense;
        self.experts += other.experts;
    }
}

impl Values {
    /// Returns the parameters of a rank: `cluster.expert_parallel` ranks share the experts.
    fn of_rank(self, cluster: &Cluster) -> Values {
        Values { experts: self.experts / cluster.expert_parallel, ..self }
    }

    /// Returns the number of all parameters.
    pub(super) fn all(self) -> usize {
        self.dense + self.experts
    }

    /// Returns the number of parameters whose optimizer state a rank has.
    pub(super) fn updated(self, cluster: &Cluster) -> usize {
        let replicas = cluster.replicas();
        self.dense.div_ceil(replicas) + self.experts.div_ceil(replicas / cluster.expert_parallel)
    }
}

/// Counts the parameters of every layer; the embedding is in the first one, the final norm, the head and the
/// multi-token prediction module are in the last one.
fn layers(config: &Config) -> Vec<Values> {
    let mut layers = vec![Values::default(); config.num_hidden_layers];
    let last = layers.len() - 1;
    for (name, shape) in Model::tensor_shapes(config) {
        let number = name.strip_prefix("model.layers.").and_then(|rest| rest.split('.').next()?.parse().ok());
        let layer = match number {
            Some(layer) => last.min(layer),
            None if name.contains("embed_tokens") => 0,
            None => last,
        };
        let values = shape.iter().product::<usize>().next_multiple_of(16);
        layers[layer] += match name.contains(".mlp.experts.") {
            true => Values { dense: 0, experts: values },
            false => Values { dense: values, experts: 0 },
        };
    }
    layers
}

/// Returns the number of layers of every stage: as equal as possible, the last stages are the smaller ones. The
/// multi-token prediction module counts as a layer of the last stage.
fn stages(work: &Work, cluster: &Cluster) -> Vec<usize> {
    let (layers, stages) = (work.layers(), cluster.pipeline_parallel);
    (0..stages).map(|stage| layers / stages + usize::from(stage < layers % stages)).collect()
}

/// Returns the parameters of the rank that has most.
pub(super) fn values(work: &Work, cluster: &Cluster) -> Values {
    let mut layers = layers(&work.config).into_iter();
    let stages: Vec<Values> = stages(work, cluster)
        .into_iter()
        .map(|count| {
            let mut sum = Values::default();
            // `layers` has no entry for the multi-token prediction module, which is in the last one.
            layers.by_ref().take(count).for_each(|layer| sum += layer);
            sum
        })
        .collect();
    let of_rank = |(&stage, &mirror): (&Values, &Values)| {
        let mut values = stage;
        if cluster.stages_of_a_rank() == 2 {
            values += mirror;
        }
        values.of_rank(cluster)
    };
    let all = stages.iter().zip(stages.iter().rev()).map(of_rank);
    all.max_by_key(|values| values.all()).unwrap_or_default()
}

/// Plans the memory of the rank that needs most.
pub(super) fn plan(work: &Work, cluster: &Cluster, speed: &Speed) -> Result<MemoryPlan, Error> {
    let values = values(work, cluster);
    let (all, bytes) = (values.all(), 4 * values.all());
    let mut plan = MemoryPlan { available: speed.memory, ..MemoryPlan::default() };
    let mut where_ = Vec::new();
    if cluster.pipeline_parallel > 1 {
        where_.push(format!("2 of {} stages", cluster.pipeline_parallel));
    }
    if cluster.expert_parallel > 1 {
        where_.push(format!("1/{} of the experts", cluster.expert_parallel));
    }
    let note = where_.join(", ");
    plan.push("weights (f32)", bytes, note.clone());
    let (name, copies) = copies_of_weights(speed.device, work.train.precision, bytes);
    plan.push(name, copies, note.clone());
    let sums = match work.train.reduce {
        Reduce::Ordered => 1 + cluster.shards_of_a_rank(work).ilog2() as usize,
        Reduce::Fast => 1,
    };
    let with_sums = match sums {
        1 => note.clone(),
        _ => format!("with {} partial sums of {} shards", sums - 1, cluster.shards_of_a_rank(work)),
    };
    // Gradients of experts are kept apart by source rank, in the places of all experts, until the end of a step.
    let apart = cluster.expert_parallel > 1 && cluster.pipeline_parallel == 1;
    let places = if apart { self::values(work, &Cluster { expert_parallel: 1, ..cluster.clone() }).all() } else { all };
    let with_sums = if apart { format!("of all experts, apart by rank; {with_sums}") } else { with_sums };
    plan.push("gradients", sums * 4 * places, with_sums);
    let updated = values.updated(cluster);
    let share = if updated < all { format!("ZeRO-1: of 1/{:.0} of them", all as f64 / updated as f64) } else { note };
    plan.push("optimizer state", 2 * 4 * updated, share);
    let (activations, note) = activations(work, cluster, speed)?;
    plan.push("activations of a pass", activations, note);
    if apart {
        plan.push("rows of other ranks", received(work, cluster), "if experts are equally loaded");
    }
    if let Some(rollout) = &work.rollout {
        let config = generator(work);
        let [cache, activations] = config.planned_bytes(&work.config, speed.device);
        let part = |bytes: usize| bytes * cluster.stages_of_a_rank() / cluster.pipeline_parallel;
        plan.push("KV cache", part(cache), format!("{} sequences of {} tokens", config.slots, config.max_len));
        plan.push("activations of generation", part(activations), format!("{} rows", config.rows()));
        if rollout.grpo.beta > 0.0 {
            plan.push("reference model", bytes, "");
        }
    }
    Ok(plan)
}

/// Returns the bytes of rows that a rank receives for its experts and keeps for the backward pass, in f32, and of the
/// buffers of one layer (`meno_tensor`'s `cpu/expert_parallel.rs`).
fn received(work: &Work, cluster: &Cluster) -> usize {
    let Some(moe) = work.config.moe() else { return 0 };
    let (hidden, top_k) = (work.config.hidden_size, moe.gate.num_experts_per_tok);
    let tokens = work.reached(cluster.expert_parallel) * hidden;
    let kept = tokens + 2 * top_k * moe.moe_intermediate_size;
    let layers = if work.train.gradient_checkpointing { 1 } else { work.moe_layers() };
    4 * work.train.max_tokens * (layers * kept + 2 * tokens + top_k * hidden)
}

/// Returns the settings of a rank's generator.
pub(super) fn generator(work: &Work) -> GeneratorConfig {
    let grpo = work.rollout.as_ref().map(|r| r.grpo.clone()).unwrap_or_default();
    let rollout = grpo.rollout_config(&work.train, Vec::new());
    let max_len = (grpo.max_prompt_length + grpo.max_completion_length).min(work.config.max_position_embeddings);
    let config = GeneratorConfig::new(rollout.slots, max_len);
    GeneratorConfig { step_rows: rollout.rows, precision: rollout.precision, ..config }
}

/// Returns the bytes of activations and their gradients, and how they are composed.
fn activations(work: &Work, cluster: &Cluster, speed: &Speed) -> Result<(usize, String), Error> {
    let (rows, train) = (work.train.max_tokens, &work.train);
    let planned = |config: &Config, mtp: bool| {
        let options = TrainOptions { recompute: train.gradient_checkpointing, mtp };
        speed.device.planned_bytes(&Model::train_program(config, rows, options), train.precision)
    };
    let how = if train.gradient_checkpointing { ", recomputed by layer" } else { "" };
    if cluster.pipeline_parallel == 1 {
        return Ok((planned(&work.config, work.mtp), format!("{rows} tokens{how}")));
    }
    // A stage of layers with experts only: the largest kind.
    let layers = stages(work, cluster).into_iter().max().unwrap_or(1);
    let mut config = work.config.with("num_nextn_predict_layers", 0)?;
    if matches!(config.arch, Arch::Deepseek(_)) {
        config = config.with("first_k_dense_replace", 0)?;
    }
    let stage = |layers: usize| Ok::<usize, Error>(planned(&config.with("num_hidden_layers", layers)?, false));
    let (working, more) = (stage(layers)?, stage(layers + 1)?);
    // Each further layer adds what it keeps for the backward pass.
    let kept = layers * (more - working);
    let batches = (work.tokens / cluster.data_parallel() as f64 / rows as f64).ceil() as usize;
    let in_flight = batches.clamp(1, cluster.pipeline_parallel + 1);
    let bytes = working + (in_flight - 1) * kept;
    Ok((bytes, format!("{in_flight} micro-batches of {rows} tokens{how}")))
}
