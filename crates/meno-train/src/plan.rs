//! Plans a run on a cluster before it starts: the memory of a rank by part, the bytes that a rank sends per step, the
//! time of a step, and which of them limits the run.
//!
//! Everything is computed from the recipe and the shape of the network, so a network of 671 billion parameters can be
//! planned on a laptop. Parameters come from the layout of the network, activations from the memory plan of its
//! programs, floating-point operations from their ops. Only the speed of this machine is measured ([`probe`]).

pub mod cluster;
pub mod device;
mod limit;
mod memory;
pub mod probe;
mod text;
mod time;
mod traffic;
pub mod work;

#[cfg(test)]
mod tests;

pub use cluster::Cluster;
pub use device::Speed;
pub use limit::{Binds, Limit};
pub use memory::{MemoryPart, MemoryPlan};
pub use time::{TimePart, TimePlan};
pub use traffic::Collective;
pub use work::{PlannedRecipe, Work};

use crate::error::Error;
use crate::train::Optim;
use serde::Serialize;

/// The plan of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The command that runs the recipe.
    pub verb: &'static str,
    /// The network.
    pub network: NetworkSize,
    /// How the ranks are divided.
    pub ranks: Ranks,
    /// Memory of the rank that needs most.
    pub memory: MemoryPlan,
    /// What a rank sends in an optimizer step.
    pub traffic: Vec<Collective>,
    /// Time of an optimizer step, and of the run.
    pub time: TimePlan,
    /// What limits the run.
    pub limit: Limit,
    /// What the figures assume.
    pub assumptions: Vec<String>,
}

/// The size of a network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NetworkSize {
    /// Its `model_type`.
    pub model_type: &'static str,
    /// Parameters without the multi-token prediction module.
    pub parameters: u64,
    /// Parameters that a token uses, including the whole embedding and head.
    pub active_parameters: u64,
    /// Parameters of the multi-token prediction module.
    pub mtp_parameters: u64,
    /// Floating-point operations per token of a training pass: three forward passes, without recomputation.
    pub flops_per_token: f64,
}

/// How the ranks are divided.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ranks {
    /// All ranks.
    pub total: usize,
    /// Nodes.
    pub nodes: usize,
    /// Ranks of a node.
    pub per_node: usize,
    /// Ranks that share the tokens of a step.
    pub data_parallel: usize,
    /// Ranks that share the routed experts of a layer.
    pub expert_parallel: usize,
    /// Stages that share the layers.
    pub pipeline_parallel: usize,
    /// The device of a rank.
    pub device: String,
}

/// Plans `work` on `cluster` with devices of this speed.
///
/// # Errors
/// Fails if the ranks cannot be divided as asked ([`Cluster::check`]).
pub fn plan(work: &Work, cluster: &Cluster, speed: &Speed) -> Result<Plan, Error> {
    cluster.check(work)?;
    let memory = memory::plan(work, cluster, speed)?;
    let traffic = traffic::plan(work, cluster);
    let flops = time::Flops::of(work);
    let time = time::plan(work, cluster, speed, &flops, &traffic);
    let limit = limit::limit(work, cluster, speed, (&memory, &traffic, &time))?;
    let counts = work.config.counts();
    Ok(Plan {
        verb: work.verb,
        network: NetworkSize {
            model_type: work.config.model_type.name(),
            parameters: counts.total,
            active_parameters: counts.active,
            mtp_parameters: counts.mtp,
            flops_per_token: flops.trained(work.length),
        },
        ranks: Ranks {
            total: cluster.ranks(),
            nodes: cluster.nodes,
            per_node: cluster.ranks_per_node,
            data_parallel: cluster.data_parallel(),
            expert_parallel: cluster.expert_parallel,
            pipeline_parallel: cluster.pipeline_parallel,
            device: speed.name.clone(),
        },
        assumptions: assumptions(work, cluster, speed),
        memory,
        traffic,
        time,
        limit,
    })
}

/// Rounds to two decimals, for display.
fn rounded(value: f64) -> f64 {
    (100.0 * value).round() / 100.0
}

/// Returns how Meno deals experts out instead, if it does not do it as planned.
fn unsupported_experts(work: &Work, cluster: &Cluster, speed: &Speed) -> Option<&'static str> {
    if cluster.pipeline_parallel > 1 {
        return None; // the layout of the paper, which has its own note
    }
    if speed.device.has_own_memory() {
        return Some("on CPUs only");
    }
    if work.rollout.is_some() {
        return Some("in pretrain and sft only");
    }
    (cluster.expert_parallel != cluster.ranks()).then_some("to all ranks only")
}

/// Returns what the figures assume, as sentences.
fn assumptions(work: &Work, cluster: &Cluster, speed: &Speed) -> Vec<String> {
    let mut all = vec![speed.source.clone(), work.lengths()];
    if cluster.ranks() > 1 {
        let [between, inside] = [cluster.bandwidth, cluster.node_bandwidth].map(|bytes| rounded(bytes / 1e9));
        let [overlap, latency] = [100.0 * cluster.overlap, 1e6 * cluster.latency].map(rounded);
        all.push(format!(
            "a rank sends {between} GB/s to other nodes and {inside} GB/s inside a node (--bandwidth, \
             --node-bandwidth), a message takes {latency} µs more (--latency), and {overlap} % of the communication is \
             hidden behind computation (--overlap)"
        ));
        all.push(
            "ranks are numbered node by node; gradients are summed in a binary tree of neighbours, in f32, and every \
             rank has the optimizer's state of its share of the parameters only (ZeRO-1)"
                .to_owned(),
        );
    }
    let (shards, ranks, sequences) = (work.train.gradient_shards, cluster.data_parallel(), work.sequences());
    if cluster.expert_parallel > 1 && cluster.pipeline_parallel == 1 && !work.train.expert_parallel {
        all.push("the recipe has to set `train.expert_parallel = true`".to_owned());
    }
    if shards < ranks {
        all.push(format!(
            "the recipe's `train.gradient_shards` = {shards} is too small for these ranks: planned with {ranks}, set it"
        ));
    }
    if sequences < ranks {
        all.push(format!(
            "a step has {sequences} sequences, so {} of {ranks} ranks have nothing to train on; --length sets how long \
             sequences are",
            ranks - sequences
        ));
    }
    if cluster.ranks() > 1 && work.train.optim == Optim::Muon {
        all.push("Muon's matrices stay whole, so the share of a rank can be larger than planned by one matrix".into());
    }
    if cluster.expert_parallel > 1 {
        all.push("the router spreads tokens evenly over experts".to_owned());
        if let Some(not_yet) = unsupported_experts(work, cluster, speed) {
            all.push(format!(
                "Meno deals experts out {not_yet}; the figures are those of a layout that it does not run"
            ));
        }
    }
    if cluster.pipeline_parallel > 1 {
        all.push(
            "Meno has no pipeline: --pipeline-parallel computes DualPipe's layout as in DeepSeek-V3 (§3.2.1): a rank \
             has two stages, and P + 1 micro-batches of `train.max_tokens` tokens in flight; with --expert-parallel, \
             experts exchange rows as there (§3.2.2), dispatched in FP8, once to each node"
                .to_owned(),
        );
    }
    if work.rollout.is_some() {
        all.push("no answer is sampled again (`grpo.dynamic_sampling`), and rewards take no time".to_owned());
    }
    all.push("not included: scratch memory of GPU kernels, norms and losses of ranks, checkpoints, evaluation".into());
    all
}
