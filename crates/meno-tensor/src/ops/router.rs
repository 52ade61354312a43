//! The router of DeepSeekMoE: selects the experts of each token and computes their weights.
//!
//! DeepSeek-V3 (arXiv 2412.19437) §2.1.2, eqs. 12–20: sigmoid affinities; a bias that affects only the selection;
//! groups limited by the sum of their two best; weights normalized and scaled; the sequence-wise balance loss.
//! DeepSeek-V2 (arXiv 2405.04434) §2.2: softmax affinities, greedy or limited to groups by their best expert. All
//! arithmetic is f32. Unselected groups are masked with −∞, ties go to the lower index.

use crate::tape::{Activation, Builder, Describe, IntTensor, Io, Param, ParamLayout};

/// The affinity of a token to an expert, from its logit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scoring {
    /// s = σ(logit) (V3).
    Sigmoid,
    /// s = softmax over the experts (V2).
    Softmax,
}

/// The method that selects experts (`topk_method`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopkMethod {
    /// V3: groups by the sum of their two best s + bias; weights normalized, then scaled.
    NoauxTc,
    /// V2: the best of all; weights normalized or scaled.
    Greedy,
    /// V2: groups by their best; weights normalized or scaled.
    GroupLimitedGreedy,
}

/// The rule of a router; the names are those of config.json.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Gate {
    pub scoring_func: Scoring,
    pub topk_method: TopkMethod,
    pub n_routed_experts: usize,
    pub num_experts_per_tok: usize,
    pub n_group: usize,
    pub topk_group: usize,
    pub norm_topk_prob: bool,
    pub routed_scaling_factor: f32,
    /// α of the sequence-wise balance loss; 0 for none.
    pub aux_loss_alpha: f32,
}

/// The router op.
pub struct Router {
    /// Input `[t, hidden]`, normalized.
    pub x: Activation,
    /// `mlp.gate.weight`, `[experts, hidden]`.
    pub weight: Param,
    /// `mlp.gate.e_score_correction_bias`, `[experts]`; gets no gradient.
    pub bias: Option<Param>,
    /// The routing rule.
    pub gate: Gate,
    /// Index in `Outputs::expert_load`.
    pub layer: usize,
    /// Width of the input.
    pub hidden: usize,
    /// Affinities `[t, experts]`.
    pub scores: Activation,
    /// The chosen experts and their weights.
    pub routes: Routes,
}

/// The output of a router, which the experts use.
#[derive(Clone, Copy, Debug)]
pub struct Routes {
    /// `[t, num_experts_per_tok]`: weights, best expert first.
    pub weights: Activation,
    /// Experts, in the same layout.
    pub chosen: IntTensor,
}

impl Router {
    /// Appends the router of a new MoE layer.
    pub fn push(
        b: &mut Builder<impl Describe + From<Router>>,
        params: &ParamLayout,
        x: Activation,
        weight: Param,
        bias: Option<Param>,
        gate: Gate,
    ) -> Routes {
        let (e, k, hidden) = (gate.n_routed_experts, gate.num_experts_per_tok, b.cols(x));
        assert!(params.info(weight).shape == [e, hidden], "invariant: {} fits", params.info(weight).name);
        assert!(gate.n_group <= 64 && e % gate.n_group.max(1) == 0, "invariant: the config was checked");
        let routes = Routes { weights: b.activation(k), chosen: b.ints(b.mode().rows * k) };
        let (scores, layer) = (b.activation(e), b.router());
        b.push(Router { x, weight, bias, gate, layer, hidden, scores, routes });
        routes
    }
}

impl Describe for Router {
    fn name(&self) -> &'static str {
        "router"
    }
    fn io(&self) -> Io {
        let Routes { weights, chosen } = self.routes;
        Io {
            reads: vec![self.x],
            writes: vec![self.scores, weights],
            saved: vec![self.x, self.scores],
            grad_reads: vec![weights],
            grad_writes: vec![self.x],
            ints: vec![chosen],
        }
    }
    fn flops(&self, rows: usize) -> u64 {
        2 * (rows * self.hidden * self.gate.n_routed_experts) as u64
    }
}

#[cfg(test)]
pub(crate) mod selections;
#[cfg(test)]
mod tests;
