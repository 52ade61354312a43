//! The time of an optimizer step.

use super::cluster::Cluster;
use super::device::Speed;
use super::memory;
use super::traffic::Collective;
use super::work::{RolloutWork, Work};
use meno_model::{Config, InferOptions, Model, Network, TrainOptions};
use meno_tensor::kv_cache::KvType;
use meno_tensor::ops::Op;
use meno_tensor::optim::UpdateRule;
use meno_tensor::precision::Precision;
use meno_tensor::tape::{Describe, ParamInfo};
use serde::Serialize;

/// The time of a step, and of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TimePlan {
    /// Seconds of a step by purpose.
    pub parts: Vec<TimePart>,
    /// Their sum.
    pub step_seconds: f64,
    /// Tokens of a step that are trained on.
    pub step_tokens: f64,
    /// Tokens per second.
    pub tokens_per_second: f64,
    /// Share of the peak that training would use in the whole step, without recomputation.
    pub model_flops_utilization: f64,
    /// Optimizer steps of the run, if the recipe determines them.
    pub steps: Option<usize>,
    /// Seconds of the run.
    pub run_seconds: Option<f64>,
    /// Hours of the run, multiplied by the number of ranks.
    pub device_hours: Option<f64>,
}

/// Seconds by purpose.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimePart {
    /// The purpose.
    pub name: &'static str,
    /// Number of seconds.
    pub seconds: f64,
}

/// Floating-point operations of a forward pass, counted over the ops of its program.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Flops {
    /// Per token, without attention over the context.
    token: f64,
    /// Per token and token of its sequence: attention, half of whose scores are masked.
    context: f64,
    /// The part of `token` in loss heads, which are never recomputed.
    heads: f64,
}

impl Flops {
    pub(super) fn of(work: &Work) -> Flops {
        Flops::of_network(&work.config, work.mtp)
    }

    pub(super) fn of_network(config: &Config, mtp: bool) -> Flops {
        let program = Model::train_program(config, 1, TrainOptions { recompute: false, mtp });
        let mut flops = Flops::default();
        for op in program.ops() {
            // All ops are linear in the rows, except attention, which is quadratic.
            let one = op.flops(1) as f64;
            match op {
                Op::Attention(_) => flops.context += one,
                Op::Head(_) => (flops.token, flops.heads) = (flops.token + one, flops.heads + one),
                _ => flops.token += one,
            }
        }
        flops
    }

    /// Returns the operations per token of a forward pass over sequences of `length` tokens.
    pub(super) fn forward(&self, length: usize) -> f64 {
        self.token + self.context * length as f64
    }

    /// Returns the operations per token of a training pass, without recomputation: the backward pass has twice those of
    /// the forward pass.
    pub(super) fn trained(&self, length: usize) -> f64 {
        3.0 * self.forward(length)
    }

    /// Like [`Flops::trained`], with the layers computed again if the activations are not kept.
    pub(super) fn executed(&self, length: usize, recompute: bool) -> f64 {
        let again = if recompute { self.forward(length) - self.heads } else { 0.0 };
        self.trained(length) + again
    }
}

/// Plans the time of a step.
pub(super) fn plan(work: &Work, cluster: &Cluster, speed: &Speed, flops: &Flops, traffic: &[Collective]) -> TimePlan {
    let mut parts = Vec::new();
    let mut push = |name, seconds: f64| {
        if seconds > 0.0 {
            parts.push(TimePart { name, seconds });
        }
    };
    let devices = cluster.ranks() as f64;
    if let Some(rollout) = &work.rollout {
        push("sampling answers", sampling(work, rollout, cluster, speed, flops) / rollout.uses());
        let scored = rollout.scored() * flops.forward(work.length) / (devices * speed.flops);
        push("scoring by the gate and the reference", scored / rollout.uses());
    }
    let executed = flops.executed(work.length, work.train.gradient_checkpointing);
    let busiest = cluster.busiest_tokens(work) / cluster.pipeline_parallel as f64;
    push("training passes", busiest * executed / speed.flops);
    push("pipeline bubble", bubble(work, cluster, speed, flops));
    push("updating the weights", update(work, cluster, speed));
    let computing: f64 = parts.iter().map(|part| part.seconds).sum();
    let sending: f64 = traffic.iter().map(|c| c.seconds).sum();
    let exposed = sending - (cluster.overlap * sending).min(computing);
    if exposed > 0.0 {
        parts.push(TimePart { name: COMMUNICATION, seconds: exposed });
    }
    let step = computing + exposed;
    let run = work.steps.map(|steps| steps as f64 * step);
    TimePlan {
        parts,
        step_seconds: step,
        step_tokens: work.tokens,
        tokens_per_second: work.tokens / step,
        model_flops_utilization: work.tokens * flops.trained(work.length) / (step * devices * speed.peak),
        steps: work.steps,
        run_seconds: run,
        device_hours: run.map(|seconds| seconds / 3600.0 * devices),
    }
}

/// The name of the communication that is not hidden.
pub(super) const COMMUNICATION: &str = "communication that is not hidden";

/// Returns the seconds in which a rank of a DualPipe schedule waits (V3 §3.2.1, table 2): (P/2 − 1)(F&B + B − 3W), for
/// the times of one micro-batch in one stage: F forward, B backward, W its part for weights, F&B both overlapped.
fn bubble(work: &Work, cluster: &Cluster, speed: &Speed, flops: &Flops) -> f64 {
    let stages = cluster.pipeline_parallel as f64;
    if stages == 1.0 {
        return 0.0;
    }
    let chunk = work.train.max_tokens as f64 / stages / speed.flops;
    let forward = chunk * flops.forward(work.length);
    let backward = chunk * flops.executed(work.length, work.train.gradient_checkpointing) - forward;
    (stages / 2.0 - 1.0) * (forward + backward + backward - 3.0 * forward)
}

/// Returns the seconds of the optimizer: it reads weight, gradient and two moments from memory and writes them, the
/// copies of all weights are made again, and Muon computes.
fn update(work: &Work, cluster: &Cluster, speed: &Speed) -> f64 {
    let values = memory::values(work, cluster);
    let (_, copies) = crate::memory::copies_of_weights(speed.device, work.train.precision, 4 * values.all());
    let copied = if copies > 0 { 4 * values.all() + copies } else { 0 };
    let moved = (8 * 4 * values.updated(cluster) + copied) as f64;
    moved / speed.memory_bandwidth + muon(work) / cluster.ranks() as f64 / speed.flops
}

/// Returns the operations of Muon's five Newton-Schulz iterations over all matrices (Moonlight §2.2): for a matrix X of
/// m × n, m ≤ n, products of X and its transpose, of their result with itself, and of that with X.
fn muon(work: &Work) -> f64 {
    let (config, (_, layout)) = (work.train.optimizer(), Network::declare(&work.config));
    let matrix = |info: &ParamInfo| match UpdateRule::of(&config, info) {
        UpdateRule::Muon { rows, cols } => {
            let [m, n] = [rows.min(cols), rows.max(cols)].map(|size| size as f64);
            5.0 * (4.0 * m * m * n + 2.0 * m * m * m)
        }
        UpdateRule::AdamW { .. } | UpdateRule::Frozen => 0.0,
    };
    layout.iter().map(|(_, info)| matrix(info)).sum()
}

/// Returns the seconds in which a rank samples its answers of a rollout: prompts as one forward pass, then steps of one
/// token for every sequence, limited by computation or by reading weights, keys and values.
fn sampling(work: &Work, rollout: &RolloutWork, cluster: &Cluster, speed: &Speed, flops: &Flops) -> f64 {
    let (ranks, stages) = (cluster.data_parallel() as f64, cluster.pipeline_parallel as f64);
    let answers = rollout.answers() as f64 / ranks;
    let prompts = rollout.grpo.num_questions as f64 / ranks * rollout.prompt as f64 * flops.forward(rollout.prompt);
    let slots = memory::generator(work).slots as f64;
    let at_once = slots.min(answers);
    let context = rollout.prompt + rollout.completion / 2;
    let kv_type = KvType::F32.on(speed.device, work.train.precision);
    let layers = Model::cache_shapes(&work.config, InferOptions::default());
    let page: usize = layers.iter().map(|layer| layer.page_bytes(kv_type)).sum();
    let keys = at_once * context as f64 * page as f64 / meno_tensor::tape::PAGE as f64;
    // Of the embedding only a few rows are read, unless it is also the head.
    let embedding = if work.config.tie_word_embeddings { 0 } else { work.config.counts().embedding as usize };
    let values = memory::values(work, cluster).all().saturating_sub(embedding / cluster.pipeline_parallel);
    let element = if work.train.precision == Precision::Bf16 { 2.0 } else { 4.0 };
    let read = (element * values as f64 + keys / stages) / speed.memory_bandwidth;
    // Scores of a new token are not masked.
    let computed = at_once * flops.forward(2 * context) / stages / speed.flops;
    let steps = rollout.completion as f64 * answers / at_once;
    prompts / stages / speed.flops + steps * read.max(computed)
}
