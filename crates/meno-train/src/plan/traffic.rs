//! What a rank sends in an optimizer step.

use super::cluster::Cluster;
use super::device::Speed;
use super::memory::{self, Values};
use super::work::Work;
use crate::shards::Reduce;
use meno_tensor::ops::router::TopkMethod;
use meno_tensor::precision::Precision;
use serde::Serialize;

/// A collective operation of a step: what the busiest rank sends.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Collective {
    /// What is sent, and how.
    pub name: &'static str,
    /// Bytes to other nodes.
    pub bytes_between_nodes: f64,
    /// Bytes inside the node.
    pub bytes_inside_node: f64,
    /// Messages that are sent one after the other.
    pub rounds: f64,
    /// Seconds, if nothing hides them.
    pub seconds: f64,
    /// True if its bytes do not depend on the tokens of a step.
    pub fixed: bool,
}

impl Collective {
    fn new(name: &'static str, fixed: bool) -> Collective {
        Collective { name, bytes_between_nodes: 0.0, bytes_inside_node: 0.0, rounds: 0.0, seconds: 0.0, fixed }
    }

    fn timed(mut self, cluster: &Cluster) -> Collective {
        self.seconds = self.bytes_between_nodes / cluster.bandwidth
            + self.bytes_inside_node / cluster.node_bandwidth
            + self.rounds * cluster.latency;
        self
    }
}

/// Plans the collectives of a step; all that send nothing are left out.
pub(super) fn plan(work: &Work, cluster: &Cluster, speed: &Speed) -> Vec<Collective> {
    let values = memory::values(work, cluster);
    let mut all = vec![
        match work.train.reduce {
            Reduce::Ordered => tree("gradients: reduce-scatter", values, cluster),
            Reduce::Fast => all_reduce(values, cluster),
        },
        tree("weights: all-gather", values, cluster),
        all_to_all(work, cluster, speed),
        pipeline(work, cluster),
    ];
    all.retain(|c| c.rounds > 0.0);
    all.into_iter().map(|c| c.timed(cluster)).collect()
}

/// Bytes of a message of the sums: larger blocks are sent in pieces.
const MESSAGE: f64 = 4.0 * (1 << 20) as f64;

/// The reduce-scatter of gradients in f32 by recursive halving, or the all-gather of weights by recursive doubling. In
/// each round a rank exchanges half of what is left with a neighbour, first with the nearest.
fn tree(name: &'static str, values: Values, cluster: &Cluster) -> Collective {
    let mut collective = Collective::new(name, true);
    let replicas = cluster.replicas();
    let groups =
        [(values.dense, replicas, 1), (values.experts, replicas / cluster.expert_parallel, cluster.expert_parallel)];
    for (values, ranks, distance) in groups.into_iter().filter(|group| group.0 > 0) {
        for round in 0..ranks.ilog2() {
            let bytes = 4.0 * values as f64 / f64::from(round + 1).exp2();
            // The ranks of both sides of this round are in one node if their block divides it.
            let block = distance << (round + 1);
            match block <= cluster.ranks_per_node && cluster.ranks_per_node.is_multiple_of(block) {
                true => collective.bytes_inside_node += bytes,
                false if cluster.nodes == 1 => collective.bytes_inside_node += bytes,
                false => collective.bytes_between_nodes += bytes,
            }
            collective.rounds += (bytes / MESSAGE).ceil();
        }
    }
    collective
}

/// The all-reduce of MPI: a reduce-scatter and an all-gather.
fn all_reduce(values: Values, cluster: &Cluster) -> Collective {
    let half = tree("gradients: all-reduce", values, cluster);
    Collective {
        bytes_between_nodes: 2.0 * half.bytes_between_nodes,
        bytes_inside_node: 2.0 * half.bytes_inside_node,
        rounds: 2.0 * half.rounds,
        ..half
    }
}

/// Dispatch and combine of routed experts.
fn all_to_all(work: &Work, cluster: &Cluster, speed: &Speed) -> Collective {
    let mut collective = Collective::new("experts: all-to-all", false);
    let (Some(moe), true) = (work.config.moe(), cluster.expert_parallel > 1) else { return collective };
    let element = match (speed.device.has_own_memory(), work.train.precision) {
        (true, Precision::Bf16) => 2.0,
        _ => 4.0,
    };
    let row = element * work.config.hidden_size as f64;
    let inside = cluster.expert_parallel.min(cluster.ranks_per_node);
    let nodes = cluster.expert_parallel.div_ceil(inside);
    let gate = &moe.gate;
    // V3 §2.1.2: a token reaches the experts of `topk_group` groups; groups are spread evenly over nodes.
    let limit = match gate.topk_method {
        TopkMethod::Greedy => nodes,
        _ => gate.topk_group * nodes.div_ceil(gate.n_group),
    };
    let reached = gate.num_experts_per_tok.min(nodes).min(limit) as f64;
    let elsewhere = |ranks: usize| 1.0 - 1.0 / ranks as f64;
    // A row is sent once to every node that needs it, and from there to every expert's rank.
    let between = row * reached * elsewhere(nodes);
    let within = row * gate.num_experts_per_tok as f64 * elsewhere(inside);

    // Dispatch and combine: forward, backward, and forward again where layers are recomputed.
    let ways = if work.train.gradient_checkpointing { 6.0 } else { 4.0 };
    let (ranks, stages) = (cluster.data_parallel() as f64, cluster.pipeline_parallel as f64);
    // Shards are packed separately.
    let (own, tokens) = (cluster.shards_of_a_rank(work) as f64, cluster.busiest_tokens(work));
    let (mut rows, mut passes) = (ways * tokens, ways * own * passes(tokens / own, work));
    if let Some(rollout) = &work.rollout {
        let sampled = (rollout.answers() * rollout.completion + rollout.grpo.num_questions * rollout.prompt) as f64;
        let steps = rollout.completion * rollout.answers().div_ceil(cluster.data_parallel());
        let slots = memory::generator(work).slots.min(rollout.answers().div_ceil(cluster.data_parallel()));
        rows += 2.0 * (rollout.scored() + sampled) / ranks / rollout.uses();
        passes += 2.0 * self::passes(rollout.scored() / ranks, work) / rollout.uses();
        passes += 2.0 * (steps as f64 / slots as f64).ceil() / rollout.uses();
    }
    let layers = work.moe_layers() as f64 / stages;
    collective.bytes_between_nodes = layers * rows * between;
    collective.bytes_inside_node = layers * rows * within;
    collective.rounds = layers * passes;
    collective
}

/// Returns the passes over the network for these tokens.
fn passes(tokens: f64, work: &Work) -> f64 {
    (tokens / work.train.max_tokens as f64).ceil()
}

/// Activations and their gradients between the stages of a pipeline.
fn pipeline(work: &Work, cluster: &Cluster) -> Collective {
    let mut collective = Collective::new("pipeline: activations", false);
    let stages = cluster.pipeline_parallel as f64;
    if stages == 1.0 {
        return collective;
    }
    let element = if work.train.precision == Precision::Bf16 { 2.0 } else { 4.0 };
    let tokens = cluster.busiest_tokens(work);
    let bytes = 2.0 * tokens * element * work.config.hidden_size as f64 * (stages - 1.0) / stages;
    match cluster.nodes {
        1 => collective.bytes_inside_node = bytes,
        _ => collective.bytes_between_nodes = bytes,
    }
    collective.rounds = 2.0 * passes(tokens, work);
    collective
}
