//! The vocabulary of a program: handles to activations and integers, and what an op declares about itself.

/// The element type of an activation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Dtype {
    /// 32-bit floats.
    #[default]
    F32,
    /// bfloat16.
    Bf16,
}

impl Dtype {
    /// Bytes per element.
    pub fn bytes(self) -> usize {
        match self {
            Dtype::F32 => 4,
            Dtype::Bf16 => 2,
        }
    }
}

/// A handle to an activation: a matrix with a row per token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Activation(pub(super) u32);

impl Activation {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A handle to unsigned integers that an op leaves for later ops or for its own backward pass (routing decisions).
/// Their capacity is declared; how many are in use is stored beside them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IntTensor(pub(super) u32);

impl IntTensor {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The activations and gradients that an op touches. The memory plan relies on it, and debug builds check it.
#[derive(Clone, Debug, Default)]
pub struct Io {
    /// Activations that forward reads.
    pub reads: Vec<Activation>,
    /// Activations that forward writes. An activation changed in place is in both lists.
    pub writes: Vec<Activation>,
    /// Activations whose values backward reads.
    pub saved: Vec<Activation>,
    /// Activations whose gradients backward reads. A gradient changed in place is in both lists.
    pub grad_reads: Vec<Activation>,
    /// Activations whose gradients backward writes: it adds where an earlier op of the backward pass wrote
    /// (the plan says where), and overwrites elsewhere.
    pub grad_writes: Vec<Activation>,
}

/// What an op says about itself, the same on every device.
pub trait Describe {
    /// The name in profiles.
    fn name(&self) -> &'static str;
    /// What it touches.
    fn io(&self) -> Io;
    /// Floating-point operations of one forward pass over `rows` rows; a multiply-add counts as two.
    fn flops(&self, _rows: usize) -> u64 {
        0
    }
    /// Whether its outputs are cheap to compute again. Backward then recomputes them just before they are needed, so
    /// they take no memory in between.
    fn recomputed(&self) -> bool {
        false
    }
}
