//! Dispatch of a mixture of experts: copies a token's row for each of its experts, sorted by expert.
//!
//! With [`super::experts`] and [`super::combine`] it computes y = residual + Σ_k w_k · Expert_{e_k}(x). Only these two
//! ops (dispatch and combine) know which token a row belongs to, so the experts can run elsewhere.
//!
//! A *pair* is token · top_k + choice. Pairs are sorted by expert, and by token within an expert.

use super::router::Routes;
use crate::tape::{Activation, Builder, Describe, IntTensor, Io};

/// The dispatch op.
pub struct Dispatch {
    /// Input `[t, hidden]`, normalized.
    pub x: Activation,
    /// The experts of every token and their weights.
    pub routes: Routes,
    /// The rows in sorted order, with their weights and their order.
    pub sorted: Sorted,
}

/// The rows of a mixture of experts in the order of their experts.
#[derive(Clone, Copy, Debug)]
pub struct Sorted {
    /// Rows of x, `[t · top_k, hidden]`. As an activation: `top_k · hidden` columns for each token.
    pub rows: Activation,
    /// The weight of each row, `[t · top_k]`.
    pub weights: Activation,
    /// `[first row of each expert, …, end | pair of each row | row of each pair]`.
    pub order: IntTensor,
    /// Number of experts.
    pub experts: usize,
    /// Experts per token.
    pub top_k: usize,
    /// Columns of a row.
    pub hidden: usize,
}

impl Dispatch {
    /// Appends the dispatch of `x` to `experts` experts.
    pub fn push(
        b: &mut Builder<impl Describe + From<Dispatch>>,
        x: Activation,
        routes: Routes,
        experts: usize,
    ) -> Sorted {
        let (hidden, top_k) = (b.cols(x), b.cols(routes.weights));
        let (rows, weights) = (b.activation(top_k * hidden), b.activation(top_k));
        let order = b.ints(experts + 1 + 2 * b.mode().rows * top_k);
        let sorted = Sorted { rows, weights, order, experts, top_k, hidden };
        b.push(Dispatch { x, routes, sorted });
        sorted
    }
}

impl Describe for Dispatch {
    fn name(&self) -> &'static str {
        "dispatch"
    }
    fn io(&self) -> Io {
        let (x, weights) = (self.x, self.routes.weights);
        let outputs = vec![self.sorted.rows, self.sorted.weights];
        Io {
            reads: vec![x, weights],
            writes: outputs.clone(),

            grad_reads: outputs,
            grad_writes: vec![x, weights],
            ints: vec![self.routes.chosen, self.sorted.order],
            ..Io::default()
        }
    }
    fn recomputed(&self) -> bool {
        true
    }
}
