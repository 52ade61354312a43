//! Declares parameters under their published names.

use meno_tensor::ops::rms_norm::Norm;
use meno_tensor::tape::{Param, ParamLayout};

/// Declares parameters whose names start with `prefix`.
pub(crate) struct Declare<'a> {
    pub(crate) layout: &'a mut ParamLayout,
    prefix: String,
}

impl<'a> Declare<'a> {
    pub(crate) fn new(layout: &'a mut ParamLayout, prefix: impl Into<String>) -> Self {
        Declare { layout, prefix: prefix.into() }
    }
    /// Returns a declarer for names that continue with `name`.
    pub(crate) fn under(&mut self, name: impl std::fmt::Display) -> Declare<'_> {
        Declare { prefix: format!("{}{name}.", self.prefix), layout: self.layout }
    }
    /// Declares the weight of a linear layer, `[outputs, inputs]`.
    pub(crate) fn linear(&mut self, name: &str, outputs: usize, inputs: usize) -> Param {
        let weight = self.matrix(name, outputs, inputs);
        self.layout.mark_linear(weight);
        weight
    }
    /// Declares the weights of linear layers with the same input, fused into one matrix.
    pub(crate) fn fused<const N: usize>(&mut self, layers: [(&str, usize); N], inputs: usize) -> [Param; N] {
        let weights = layers.map(|(name, outputs)| self.linear(name, outputs, inputs));
        self.layout.fuse_linear(&weights);
        weights
    }
    /// Declares a matrix that is not marked with [`ParamLayout::mark_linear`].
    pub(crate) fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> Param {
        self.layout.declare(format!("{}{name}.weight", self.prefix), &[rows, cols])
    }
    /// Declares the bias of a linear layer.
    pub(crate) fn bias(&mut self, name: &str, outputs: usize) -> Param {
        self.layout.declare(format!("{}{name}.bias", self.prefix), &[outputs])
    }
    /// Declares a vector with exactly this name.
    pub(crate) fn vector(&mut self, name: &str, len: usize) -> Param {
        self.layout.declare(format!("{}{name}", self.prefix), &[len])
    }
    /// Declares the gain of an RMSNorm.
    pub(crate) fn norm(&mut self, name: &str, len: usize, eps: f32) -> Norm {
        Norm { weight: self.vector(&format!("{name}.weight"), len), eps }
    }
}
