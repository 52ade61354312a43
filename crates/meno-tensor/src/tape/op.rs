//! The vocabulary of a program: handles to activations and integers, and the declarations of an op.

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
    /// Returns the size of an element in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Dtype::F32 => 4,
            Dtype::Bf16 => 2,
        }
    }
}

/// A handle to an activation: a matrix with one row per token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Activation(pub(super) u32);

impl Activation {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A handle to unsigned integers that an op stores for later ops or for its own backward pass (routing decisions).
/// Their capacity is declared; the number in use is stored with them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IntTensor(pub(super) u32);

impl IntTensor {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The activations and gradients that an op reads and writes. The memory plan relies on it, and debug builds check it.
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
    /// Activations whose gradients backward writes. It adds if an earlier op of the backward pass wrote the gradient
    /// (the plan records this); otherwise it overwrites.
    pub grad_writes: Vec<Activation>,
    /// Integers that forward or backward reads or writes.
    pub ints: Vec<IntTensor>,
}

impl Io {
    /// Returns what the op declares for the forward or the backward pass: activations read and written, then gradients
    /// read and written.
    pub(crate) fn touched(&self, forward: bool) -> [[&[Activation]; 2]; 2] {
        match forward {
            true => [[&self.reads, &self.writes], [&[], &[]]],
            false => [[&self.saved, &[]], [&self.grad_reads, &self.grad_writes]],
        }
    }
}

/// An op's description of itself, the same on every device.
pub trait Describe {
    /// Returns the name in profiles.
    fn name(&self) -> &'static str;
    /// Returns the activations and gradients that it reads and writes.
    fn io(&self) -> Io;
    /// Returns the number of floating-point operations of one forward pass over `rows` rows. A multiply-add counts as
    /// two.
    fn flops(&self, _rows: usize) -> u64 {
        0
    }
    /// Returns true if its outputs are cheap to recompute. Backward then recomputes them just before they are needed,
    /// so they use no memory in between.
    fn recomputed(&self) -> bool {
        false
    }
}
