//! Combination of a mixture of experts: y = residual + Σ_k w_k · (the row of the token's k-th expert).
//!
//! A token's experts are combined in the order of its choices, so its result does not depend on the other tokens.

use super::dispatch::Sorted;
use super::router::Routes;
use crate::tape::{Activation, Builder, Describe, Io};

/// The combine op. Backward gives the experts the dL/dy of each row's token, before the weight is applied: see
/// [`super::experts`](super::experts#gradients).
pub struct Combine {
    /// Outputs of the experts `[t · top_k, hidden]`.
    pub x: Activation,
    /// The weights of every token's experts.
    pub routes: Routes,
    /// The order of the rows.
    pub sorted: Sorted,
    /// `[t, hidden]`, added to the output, which continues this residual stream.
    pub residual: Option<Activation>,
    /// Output `[t, hidden]`.
    pub y: Activation,
}

impl Combine {
    /// Appends residual + the weighted sum of the experts' outputs `x`; returns the sum.
    pub fn push(
        b: &mut Builder<impl Describe + From<Combine>>,
        x: Activation,
        routes: Routes,
        sorted: Sorted,
        residual: Option<Activation>,
    ) -> Activation {
        let y = b.output(residual, sorted.hidden);
        b.push(Combine { x, routes, sorted, residual, y });
        y
    }
}

impl Describe for Combine {
    fn name(&self) -> &'static str {
        "combine"
    }
    fn io(&self) -> Io {
        Io {
            reads: [self.x, self.routes.weights].into_iter().chain(self.residual).collect(),
            writes: vec![self.y],

            grad_reads: vec![self.y],
            grad_writes: vec![self.x],
            ints: vec![self.sorted.order],
            ..Io::default()
        }
    }
}
