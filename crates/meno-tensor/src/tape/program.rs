//! A planned network: a list of ops and the places of their activations. It holds no memory; a backend executes it.

use super::op::{Describe, Dtype, Io};
use super::outputs::Outputs;
use super::plan::{Node, Plan, plan};

/// The options that a program is built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Maximum rows (tokens) of a batch.
    pub rows: usize,
    /// True if there is a backward pass.
    pub train: bool,
    /// True if blocks are recomputed in the backward pass instead of kept.
    pub recompute: bool,
}

/// The shape of an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActivationInfo {
    /// Elements per row.
    pub cols: usize,
    /// Element type.
    pub dtype: Dtype,
}

/// A planned network; `O` is the set of ops ([`crate::ops::Op`]).
pub struct Program<O> {
    pub(crate) mode: Mode,
    pub(crate) activations: Vec<ActivationInfo>,
    pub(crate) int_capacities: Vec<usize>,
    pub(crate) ops: Vec<O>,
    /// The planner's view of each op.
    pub(crate) nodes: Vec<Node>,
    /// For each activation, the one whose gradient it shares.
    pub(crate) alias: Vec<usize>,
    pub(crate) plan: Plan,
    pub(crate) routers: usize,
}

impl<O: Describe> Program<O> {
    /// Returns the options it is built with.
    pub fn mode(&self) -> Mode {
        self.mode
    }
    /// Returns the ops in the order of the forward pass.
    pub fn ops(&self) -> &[O] {
        &self.ops
    }
    /// Returns the activations and gradients that op `i` reads and writes.
    pub(crate) fn io(&self, i: usize) -> &Io {
        &self.nodes[i].io
    }
    /// Plans the memory again for other element types: `dtype` returns that of each activation.
    pub(crate) fn plan_as(&self, dtype: impl Fn(usize) -> Dtype) -> Plan {
        let bytes = |(i, a): (usize, &ActivationInfo)| a.cols * self.mode.rows * dtype(i).bytes();
        let bytes: Vec<usize> = self.activations.iter().enumerate().map(bytes).collect();
        plan(&self.nodes, &bytes, &self.alias, self.mode.train)
    }
    /// Returns the outputs before the first pass.
    pub(crate) fn outputs(&self) -> Outputs {
        Outputs {
            logprobs: vec![0.0; self.mode.rows],
            entropies: vec![0.0; self.mode.rows],
            expert_load: vec![Vec::new(); self.routers],
            ..Outputs::default()
        }
    }
    /// Returns the number of floating-point operations of one forward pass over `rows` rows.
    pub fn flops(&self, rows: usize) -> u64 {
        self.ops.iter().map(|op| op.flops(rows)).sum()
    }
}
