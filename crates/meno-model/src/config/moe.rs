//! The sizes of the experts, in all networks that have any.

use meno_tensor::ops::router::Gate;

/// Sizes of a mixture-of-experts layer.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct MoeSizes {
    pub moe_intermediate_size: usize,
    /// Experts that every token uses.
    pub n_shared_experts: usize,
    /// The routing rule: `n_routed_experts`, `num_experts_per_tok`, groups, scaling, balance loss.
    pub gate: Gate,
}

impl MoeSizes {
    /// Returns the width of the single MLP that combines all shared experts.
    pub fn shared_width(&self) -> usize {
        self.n_shared_experts * self.moe_intermediate_size
    }
}
