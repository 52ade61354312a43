//! A planned network: a list of ops and where their activations lie. It holds no memory; a backend executes it.

use super::op::{Dtype, Io};
use super::plan::Plan;
use crate::ops::Op;

/// What a program is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Most rows (tokens) of a batch.
    pub rows: usize,
    /// Whether there is a backward pass.
    pub train: bool,
    /// Whether blocks are recomputed in the backward pass instead of kept.
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

/// A planned network.
pub struct Program {
    pub(crate) mode: Mode,
    pub(crate) activations: Vec<ActivationInfo>,
    pub(crate) int_capacities: Vec<usize>,
    pub(crate) ops: Vec<Op>,
    /// What each op touches.
    pub(crate) ios: Vec<Io>,
    pub(crate) plan: Plan,
    pub(crate) routers: usize,
}

impl Program {
    /// What it is built for.
    pub fn mode(&self) -> Mode {
        self.mode
    }
    /// The ops in the order of the forward pass.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }
    /// Floating-point operations of one forward pass over `rows` rows.
    pub fn flops(&self, rows: usize) -> u64 {
        self.ops.iter().map(|op| op.description().flops(rows)).sum()
    }
    /// Bytes that the plan needs for activations and for their gradients.
    pub fn planned_bytes(&self) -> usize {
        self.plan.activation_bytes + self.plan.grad_bytes
    }
}
