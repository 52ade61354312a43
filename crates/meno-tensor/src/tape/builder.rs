//! Collects the ops of a network into a [`Program`].

use super::op::{Activation, Describe, Dtype, IntTensor};
use super::plan::{Node, plan};
use super::program::{ActivationInfo, Mode, Program};

/// Collects the ops of a network; `O` is the set of ops ([`crate::ops::Op`]).
pub struct Builder<O> {
    mode: Mode,
    activations: Vec<ActivationInfo>,
    /// For each activation, the one whose gradient it shares.
    alias: Vec<usize>,
    int_capacities: Vec<usize>,
    ops: Vec<O>,
    nodes: Vec<Node>,
    block: Option<usize>,
    blocks: usize,
    routers: usize,
}

impl<O: Describe> Builder<O> {
    /// Creates an empty program.
    pub fn new(mode: Mode) -> Self {
        let (activations, alias, int_capacities, ops, nodes) = (vec![], vec![], vec![], vec![], vec![]);
        Builder { mode, activations, alias, int_capacities, ops, nodes, block: None, blocks: 0, routers: 0 }
    }
    /// Returns the mode that the program is built for.
    pub fn mode(&self) -> Mode {
        self.mode
    }
    /// Creates an f32 activation of `cols` columns.
    pub fn activation(&mut self, cols: usize) -> Activation {
        self.activation_of(cols, Dtype::F32)
    }
    /// Creates an activation of `cols` columns.
    pub fn activation_of(&mut self, cols: usize, dtype: Dtype) -> Activation {
        self.activations.push(ActivationInfo { cols, dtype });
        self.alias.push(self.activations.len() - 1);
        Activation(self.activations.len() as u32 - 1)
    }
    /// Creates the next state of the residual stream of `x`: same shape, and both share one gradient (dL/dx starts as
    /// dL/dy).
    pub fn residual(&mut self, x: Activation) -> Activation {
        let ActivationInfo { cols, dtype } = self.activations[x.index()];
        let y = self.activation_of(cols, dtype);
        self.alias[y.index()] = self.alias[x.index()];
        y
    }
    /// Creates the output of an op with an optional residual: the next state of that residual stream, or a new
    /// activation of `cols` columns.
    pub fn output(&mut self, residual: Option<Activation>, cols: usize) -> Activation {
        match residual {
            Some(residual) => self.residual(residual),
            None => self.activation(cols),
        }
    }
    /// Returns the number of columns of an activation.
    pub fn cols(&self, x: Activation) -> usize {
        self.activations[x.index()].cols
    }
    /// Creates an integer buffer for an op, with at most `capacity` integers; it starts empty.
    pub fn ints(&mut self, capacity: usize) -> IntTensor {
        self.int_capacities.push(capacity);
        IntTensor(self.int_capacities.len() as u32 - 1)
    }
    /// Returns the index of a new MoE layer in [`super::Outputs::expert_load`].
    pub fn router(&mut self) -> usize {
        self.routers += 1;
        self.routers - 1
    }
    /// Appends an op.
    pub fn push(&mut self, op: impl Into<O>) {
        let op = op.into();
        self.nodes.push(Node { io: op.io(), block: self.block, recomputed: op.recomputed() });
        self.ops.push(op);
    }
    /// Returns the activations that ops of this name write.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn written_by(&self, name: &str) -> Vec<Activation> {
        let ops = self.ops.iter().zip(&self.nodes).filter(|(op, _)| op.name() == name);
        ops.flat_map(|(_, node)| node.io.writes.iter().copied()).collect()
    }
    /// Appends the ops that `f` pushes as one block, the unit of activation recomputation.
    pub fn block<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        if self.mode.recompute && self.mode.train {
            self.block = Some(self.blocks);
            self.blocks += 1;
        }
        let result = f(self);
        self.block = None;
        result
    }
    /// Plans the memory. Nothing is allocated before a backend executes the program.
    pub fn finish(self) -> Program<O> {
        let Mode { rows, train, .. } = self.mode;
        let bytes: Vec<usize> = self.activations.iter().map(|a| a.cols * rows * a.dtype.bytes()).collect();
        let plan = plan(&self.nodes, &bytes, &self.alias, train);
        Program {
            mode: self.mode,
            activations: self.activations,
            int_capacities: self.int_capacities,
            ops: self.ops,
            nodes: self.nodes,
            alias: self.alias,
            plan,
            routers: self.routers,
        }
    }
}
