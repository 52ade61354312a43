//! A planned network: a list of ops and the places of their activations. It holds no memory; a backend executes it.

use super::op::{Describe, Dtype, Io};
use super::outputs::Outputs;
use super::plan::Plan;

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
    /// The activations and gradients that each op reads and writes.
    pub(crate) ios: Vec<Io>,
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
