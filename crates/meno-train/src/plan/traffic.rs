//! What a rank sends in an optimizer step.

use super::cluster::Cluster;
use super::memory::{self, Values};
use super::work::Work;
use crate::train::Reduce;
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
pub(super) fn plan(work: &Work, cluster: &Cluster) -> Vec<Collective> {
    let values = memory::values(work, cluster);
    let mut all = vec![
        match work.train.reduce {
            Reduce::Ordered => tree("gradients: reduce-scatter", values, cluster),
            Reduce::Fast => all_reduce(values, cluster),
        },
        tree("weights: all-gather", values, cluster),
        all_to_all(work, cluster),
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

/// What a token sends for one layer of experts, to other nodes and inside the node.
#[derive(Clone, Copy)]
struct Exchange {
    forward: [f64; 2],
    backward: [f64; 2],
    /// Messages of a pass, forward and backward.
    rounds: [f64; 2],
}

impl Exchange {
    /// Meno's: in f32, a token once to each rank that has some of its experts, and from there a result for each expert;
    /// backward the gradients of results and of inputs. Indices and weights of rows are one number each.
    fn of_meno(work: &Work, cluster: &Cluster) -> Exchange {
        let (ranks, inside) = (cluster.expert_parallel as f64, cluster.ranks_inside() as f64);
        let (row, top_k) = (4.0 * work.config.hidden_size as f64, top_k(work));
        let forward = work.reached(cluster.expert_parallel) as f64 * row + top_k * (row + 4.0);
        let share = [1.0 - inside / ranks, (inside - 1.0) / ranks];
        Exchange {
            forward: share.map(|share| share * forward),
            backward: share.map(|share| share * (forward + 4.0 * top_k)),
            rounds: [3.0 * (ranks - 1.0), 4.0 * (ranks - 1.0)],
        }
    }

    /// That of DeepSeek-V3 (§3.2.2, §3.3): dispatch in FP8 and combine in bf16, once to each node, and over NVLink to
    /// each expert.
    fn of_v3(work: &Work, cluster: &Cluster) -> Exchange {
        let (inside, row) = (cluster.ranks_inside(), 3.0 * work.config.hidden_size as f64);
        let nodes = cluster.expert_parallel / inside;
        let elsewhere = |units: usize| 1.0 - 1.0 / units as f64;
        let bytes = [work.reached(nodes) as f64 * row * elsewhere(nodes), top_k(work) * row * elsewhere(inside)];
        Exchange { forward: bytes, backward: bytes, rounds: [2.0; 2] }
    }
}

fn top_k(work: &Work) -> f64 {
    work.config.moe().map_or(0.0, |moe| moe.gate.num_experts_per_tok as f64)
}

/// Dispatch and combine of routed experts.
fn all_to_all(work: &Work, cluster: &Cluster) -> Collective {
    let mut collective = Collective::new("experts: all-to-all", false);
    if work.config.moe().is_none() || cluster.expert_parallel == 1 {
        return collective;
    }
    let exchange = match cluster.pipeline_parallel {
        1 => Exchange::of_meno(work, cluster),
        _ => Exchange::of_v3(work, cluster),
    };
    // Shards are packed separately. Layers that are recomputed exchange again.
    let (own, tokens) = (cluster.shards_of_a_rank(work) as f64, cluster.busiest_tokens(work));
    let trained = own * passes(tokens / own, work);
    let again = if work.train.gradient_checkpointing { 2.0 } else { 1.0 };
    let (mut forward, mut forward_passes) = (again * tokens, again * trained);
    if let Some(rollout) = &work.rollout {
        let ranks = cluster.data_parallel();
        let sampled = (rollout.answers() * rollout.completion + rollout.grpo.num_questions * rollout.prompt) as f64;
        forward += (rollout.scored() + sampled) / ranks as f64 / rollout.uses();
        let answers = rollout.answers().div_ceil(ranks);
        let steps = rollout.completion * answers.div_ceil(memory::generator(work).slots.min(answers));
        forward_passes += (passes(rollout.scored() / ranks as f64, work) + steps as f64) / rollout.uses();
    }
    let layers = work.moe_layers() as f64 / cluster.pipeline_parallel as f64;
    let bytes = |link: usize| layers * (forward * exchange.forward[link] + tokens * exchange.backward[link]);
    collective.bytes_between_nodes = bytes(0);
    collective.bytes_inside_node = bytes(1);
    collective.rounds = layers * (forward_passes * exchange.rounds[0] + trained * exchange.rounds[1]);
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
