//! DeepSeekMoE: routed experts selected per token, and shared experts that every token uses.
//!
//! DeepSeek-V3 (arXiv 2412.19437) §2.1.2, eqs. 12–16; DeepSeek-V2 (arXiv 2405.04434) §2.2. `meno_tensor::ops::router`
//! implements the routing rule with both gates; `Moe::update_bias` moves its bias after each step.

use crate::Config;
use crate::config::MoeSizes;
use crate::declare::Declare;
use crate::mlp::Mlp;
use meno_tensor::backend::{self, Weights};
use meno_tensor::ops::Builder;
use meno_tensor::ops::combine::Combine;
use meno_tensor::ops::dispatch::Dispatch;
use meno_tensor::ops::experts::{Expert, Experts};
use meno_tensor::ops::rms_norm::{Norm, RmsNorm};
use meno_tensor::ops::router::{Gate, Router, TopkMethod};
use meno_tensor::tape::{Activation, Param, ParamLayout};

/// The parameters of one layer's experts.
#[derive(Clone, Debug)]
pub struct Moe {
    gate: Gate,
    /// `mlp.gate.weight`, `[experts, hidden]`; f32 in every precision.
    weight: Param,
    /// `mlp.gate.e_score_correction_bias`: affects only the selection, gets no gradient.
    bias: Option<Param>,
    experts: Vec<Expert>,
    /// All shared experts as one MLP.
    shared: Option<Mlp>,
}

impl Moe {
    pub(crate) fn declare(mut d: Declare, config: &Config, sizes: &MoeSizes) -> Moe {
        let (hidden, width) = (config.hidden_size, sizes.moe_intermediate_size);
        let gate = sizes.gate;
        let weight = d.matrix("gate", gate.n_routed_experts, hidden);
        let bias = (gate.topk_method == TopkMethod::NoauxTc).then(|| {
            let bias = d.vector("gate.e_score_correction_bias", gate.n_routed_experts);
            d.layout.freeze(bias);
            bias
        });
        let experts = (0..gate.n_routed_experts)
            .map(|e| {
                let mut d = d.under(format_args!("experts.{e}"));
                let [gate, up] = d.fused([("gate_proj", width), ("up_proj", width)], hidden);
                Expert { gate, up, down: d.linear("down_proj", hidden, width) }
            })
            .collect();
        let shared =
            (sizes.n_shared_experts > 0).then(|| Mlp::declare(d.under("shared_experts"), hidden, sizes.shared_width()));
        Moe { gate, weight, bias, experts, shared }
    }

    /// Returns the routed experts.
    pub(crate) fn experts(&self) -> &[Expert] {
        &self.experts
    }

    /// Appends x + MoE(norm(x)).
    pub(crate) fn push(&self, b: &mut Builder, p: &ParamLayout, x: Activation, norm: Norm) -> Activation {
        // u = norm(x), [t, H]: the input of the router and of the routed and shared experts.
        let u = RmsNorm::push(b, p, x, norm);
        // (eqs. 13–16) the experts of every token and their weights g
        let routes = Router::push(b, p, u, self.weight, self.bias, self.gate);
        // (eq. 12) x + Σ_i g_i FFN_i(u) + FFN_shared(u)
        let sorted = Dispatch::push(b, u, routes, self.experts.len());
        let outputs = Experts::push(b, p, sorted, self.experts.clone());
        let y = Combine::push(b, outputs, routes, sorted, Some(x));
        match &self.shared {
            Some(shared) => shared.push(b, p, u, None, y),
            None => y,
        }
    }

    /// Updates the bias for the auxiliary-loss-free balancing of V3 §2.1.2 after a step in which expert e got `load[e]`
    /// tokens: b_e −= γ if the load is above the mean, += γ if it is below.
    pub(crate) fn update_bias(
        &self,
        weights: &mut dyn Weights,
        load: &[u32],
        gamma: f32,
    ) -> Result<(), backend::Error> {
        let Some(bias) = self.bias else { return Ok(()) };
        let total: u64 = load.iter().map(|&c| c as u64).sum();
        let step = |c: u32| {
            // Compares c with total / experts, in integers.
            match (c as u64 * load.len() as u64).cmp(&total) {
                std::cmp::Ordering::Greater => -gamma,
                std::cmp::Ordering::Less => gamma,
                std::cmp::Ordering::Equal => 0.0,
            }
        };
        weights.update(bias, &mut |bias| bias.iter_mut().zip(load).for_each(|(b, &c)| *b += step(c)))
    }
}
