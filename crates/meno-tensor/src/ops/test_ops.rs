//! Two ops for tests of other ops: a parameter as an activation, so that its gradient can be checked, and a loss on any
//! activation.

use crate::rng::Rng;
use crate::tape::{Activation, Describe, Io, Param};

/// An activation whose values are those of a parameter.
pub struct Input {
    /// `[rows, cols]`, for the maximum rows of the program.
    pub value: Param,
    /// Output `[t, cols]`.
    pub y: Activation,
    /// The name in profiles.
    pub name: &'static str,
}

impl Describe for Input {
    fn name(&self) -> &'static str {
        self.name
    }
    fn io(&self) -> Io {
        Io { writes: vec![self.y], grad_reads: vec![self.y], ..Io::default() }
    }
}

/// The loss Σ c·x with fixed random c, added to that of the first head.
pub struct WeightedSum {
    /// Any activation.
    pub x: Activation,
    /// Seed of c.
    pub seed: u64,
}

impl WeightedSum {
    /// Returns c, in the order of the elements.
    pub(crate) fn coefficients(&self) -> impl Iterator<Item = f32> {
        let mut rng = Rng::new(&[self.seed, 77]);
        std::iter::from_fn(move || Some(rng.normal()))
    }
}

impl Describe for WeightedSum {
    fn name(&self) -> &'static str {
        "weighted_sum"
    }
    fn io(&self) -> Io {
        Io { reads: vec![self.x], grad_writes: vec![self.x], ..Io::default() }
    }
}
