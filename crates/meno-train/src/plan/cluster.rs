//! The machines of a run, and how they divide it.

use super::work::Work;
use crate::error::Error;
use crate::limits::{AT_LEAST_ONE, FRACTION, NOT_NEGATIVE, POSITIVE, refused, within};

/// The machines of a run. Ranks are numbered node by node.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Number of nodes.
    pub nodes: usize,
    /// GPUs of a node, each with its own rank; on CPUs, processes of a node.
    pub ranks_per_node: usize,
    /// Number of ranks that share the routed experts of a layer.
    pub expert_parallel: usize,
    /// Number of stages that share the layers; above 1 only the paper's layout, which Meno does not run.
    pub pipeline_parallel: usize,
    /// Bytes per second that a rank sends to other nodes.
    pub bandwidth: f64,
    /// Bytes per second that a rank sends inside its node.
    pub node_bandwidth: f64,
    /// Seconds that a message takes in addition to its bytes.
    pub latency: f64,
    /// Share of the communication that is hidden behind computation, as long as there is computation to hide it.
    pub overlap: f64,
}

impl Cluster {
    /// Returns the number of ranks.
    pub fn ranks(&self) -> usize {
        self.nodes * self.ranks_per_node
    }

    /// Returns the number of ranks that share the tokens of a step.
    pub fn data_parallel(&self) -> usize {
        self.ranks() / self.pipeline_parallel
    }

    /// Returns the number of ranks of a node that share the routed experts of a layer.
    pub(super) fn ranks_inside(&self) -> usize {
        self.expert_parallel.min(self.ranks_per_node)
    }

    /// Returns the number of pipeline stages that a rank has: DualPipe feeds micro-batches from both ends.
    pub(super) fn stages_of_a_rank(&self) -> usize {
        if self.pipeline_parallel > 1 { 2 } else { 1 }
    }

    /// Returns the number of ranks that have the same parameters outside routed experts.
    pub(super) fn replicas(&self) -> usize {
        self.stages_of_a_rank() * self.data_parallel()
    }

    /// Checks that the ranks can be divided in this way.
    ///
    /// # Errors
    /// Returns an error that names the flag or key.
    pub fn check(&self, work: &Work) -> Result<(), Error> {
        let counts = [
            ("--nodes", self.nodes),
            ("--gpus", self.ranks_per_node),
            ("--expert-parallel", self.expert_parallel),
            ("--pipeline-parallel", self.pipeline_parallel),
        ];
        within(AT_LEAST_ONE, &counts.map(|(key, n)| (key, n as f64)))?;
        // In the units of the flags: GB/s and microseconds.
        let speeds = [("--bandwidth", self.bandwidth), ("--node-bandwidth", self.node_bandwidth)];
        within(POSITIVE, &speeds.map(|(key, bytes)| (key, bytes / 1e9)))?;
        within(NOT_NEGATIVE, &[("--latency", 1e6 * self.latency)])?;
        within(FRACTION, &[("--overlap", self.overlap)])?;
        if self.nodes.checked_mul(self.ranks_per_node).is_none_or(|n| n > 1 << 24) {
            return Err(refused("--nodes", self.nodes, "expected at most 16,777,216 ranks in all"));
        }
        self.check_pipeline(work)?;
        self.check_data(work)?;
        self.check_experts(work)
    }

    fn check_pipeline(&self, work: &Work) -> Result<(), Error> {
        let (stages, ranks, layers) = (self.pipeline_parallel, self.ranks(), work.layers());
        let expected = match stages {
            1 => return Ok(()),
            _ if !ranks.is_multiple_of(stages) => format!("expected a divisor of the {ranks} ranks"),
            _ if !stages.is_multiple_of(2) => "expected an even number: DualPipe pairs stages".to_owned(),
            _ if stages > layers => format!("expected at most {layers}, one for each layer"),
            _ => return Ok(()),
        };
        Err(refused("--pipeline-parallel", stages, expected))
    }

    /// Returns the shards of a step that a rank computes. A recipe with fewer shards than ranks is planned with one for
    /// each.
    pub(super) fn shards_of_a_rank(&self, work: &Work) -> usize {
        (work.train.gradient_shards / self.data_parallel()).max(1)
    }

    /// Returns the tokens of a step that the busiest rank trains on: whole sequences are dealt to the shards of a step,
    /// and consecutive shards to ranks.
    pub(super) fn busiest_tokens(&self, work: &Work) -> f64 {
        let (own, sequences) = (self.shards_of_a_rank(work), work.sequences());
        let shards = own * self.data_parallel();
        let busiest = own * (sequences / shards) + own.min(sequences % shards);
        work.tokens * busiest as f64 / sequences as f64
    }

    fn check_data(&self, work: &Work) -> Result<(), Error> {
        let (ranks, shards) = (self.data_parallel(), work.train.gradient_shards);
        if !ranks.is_power_of_two() {
            let expected = "expected a power of two of ranks that share a step: gradients are summed in a binary tree";
            return Err(refused("--nodes × --gpus", self.ranks(), expected));
        }
        if !shards.is_power_of_two() {
            return Err(refused("train.gradient_shards", shards, "expected a power of two: 1, 2, 4, …"));
        }
        Ok(())
    }

    fn check_experts(&self, work: &Work) -> Result<(), Error> {
        let (experts, ranks) = (self.expert_parallel, self.data_parallel());
        if experts == 1 {
            return Ok(());
        }
        let expected = match work.config.moe().map(|m| m.gate.n_routed_experts) {
            None => "expected 1: the network has no experts".to_owned(),
            Some(n) if !n.is_multiple_of(experts) => format!("expected a divisor of the {n} routed experts"),
            Some(_) if experts > self.ranks_per_node && !experts.is_multiple_of(self.ranks_per_node) => {
                format!("expected a multiple of --gpus {}, or a divisor", self.ranks_per_node)
            }
            Some(_) if !ranks.is_multiple_of(experts) => {
                format!("expected a divisor of the {ranks} ranks that share the tokens of a step")
            }
            Some(_) => return Ok(()),
        };
        Err(refused("--expert-parallel", experts, expected))
    }
}
