//! The routed experts of DeepSeekMoE, on rows sorted by expert. Every expert is a SwiGLU MLP.
//!
//! # Gradients
//! Backward receives the dL/dy of each row's token, before the weight is applied ([`super::combine`]), and writes the
//! gradients of the rows and of their weights. The output of the down-projection is not needed:
//! dL/dw = dy · (W_down h) = (dy · W_down) · h.
//!
//! # Experts on several ranks
//! [`Executor::deal_experts`](crate::backend::Executor::deal_experts) deals the experts out: rank r holds block r of
//! equal, contiguous blocks ([`experts_of`]). This op then sends each row to the rank of its expert and brings the
//! result back, in the order of the sorted rows; every other op stays local. As in DeepSeek-V3 (arXiv 2412.19437) §3.2,
//! dispatch sends a token once to each rank that holds some of its experts, so node-limited routing (§2.1.2) bounds the
//! traffic. The results return separately, because a token's experts are added in the order of its choices, on its
//! own rank: forward has the bits of one rank. For the same reason values are exchanged in f32.
//!
//! For each expert that a rank holds, the rows of each source rank have separate gradients. Those of source rank s are
//! added up at the place of the *same expert of block s*: for expert j of the rank's block, at the parameters of expert
//! j of block s. All experts of a layer have equal shapes, so the places of the whole layer hold the slices
//! of one block's gradients, one for each source. They add up over passes like all gradients; at the end of a step the
//! slices are added in the order of `meno_comm::ordered` (`ExpertPlacement::sum_gradients` in `meno-model`). The sums
//! then have the bits of one rank that computes the ranks' rows one after the other, each into its own buffer, and adds
//! the buffers in that order.

use super::dispatch::Sorted;
use crate::backend::Error;
use crate::tape::{Activation, Builder, Describe, Io, Param, ParamLayout};
use std::ops::Range;

/// Returns the experts that rank `rank` of `ranks` holds, of `experts` in a layer.
///
/// # Errors
/// Fails if the number of ranks does not divide that of the experts.
pub fn experts_of(rank: usize, ranks: usize, experts: usize) -> Result<Range<usize>, Error> {
    if !experts.is_multiple_of(ranks) {
        let reason = format!("a layer has {experts} experts; start a number of processes that divides it");
        return Err(Error::DealExperts { ranks, reason });
    }
    let block = experts / ranks;
    Ok(rank * block..(rank + 1) * block)
}

/// The weights of one expert.
#[derive(Clone, Copy, Debug)]
pub struct Expert {
    /// `gate_proj`, `[width, hidden]`.
    pub gate: Param,
    /// `up_proj`, `[width, hidden]`.
    pub up: Param,
    /// `down_proj`, `[hidden, width]`.
    pub down: Param,
}

/// The op that runs the experts.
pub struct Experts {
    /// The rows, their weights, and the expert of each.
    pub sorted: Sorted,
    /// Output of each row `[t · top_k, hidden]`, before its weight is applied.
    pub y: Activation,
    /// The experts, by index.
    pub experts: Vec<Expert>,
    /// Width of an expert (`moe_intermediate_size`).
    pub width: usize,
    /// `[t · top_k, 2 · width]`: gate, then up.
    pub gate_up: Activation,
    /// True if gate and up of every expert are one matrix ([`ParamLayout::fuse_linear`]).
    pub fused: bool,
}

impl Experts {
    /// Appends the experts on sorted rows; returns their outputs.
    pub fn push(
        b: &mut Builder<impl Describe + From<Experts>>,
        params: &ParamLayout,
        sorted: Sorted,
        experts: Vec<Expert>,
    ) -> Activation {
        let (hidden, width, top_k) = (sorted.hidden, params.info(experts[0].gate).shape[0], sorted.top_k);
        for e in &experts {
            for (p, shape) in [(e.gate, [width, hidden]), (e.up, [width, hidden]), (e.down, [hidden, width])] {
                assert!(params.info(p).shape == shape, "invariant: {} is {shape:?}", params.info(p).name);
            }
        }
        let (y, gate_up) = (b.activation(top_k * hidden), b.activation(top_k * 2 * width));
        let fused = experts.iter().all(|e| params.are_fused(&[e.gate, e.up]));
        b.push(Experts { sorted, y, experts, width, gate_up, fused });
        y
    }
}

impl Describe for Experts {
    fn name(&self) -> &'static str {
        "experts"
    }
    fn io(&self) -> Io {
        let inputs = vec![self.sorted.rows, self.sorted.weights];
        Io {
            reads: vec![self.sorted.rows],
            writes: vec![self.y, self.gate_up],
            saved: inputs.iter().copied().chain([self.gate_up]).collect(),
            grad_reads: vec![self.y],
            grad_writes: inputs,
            ints: vec![self.sorted.order],
        }
    }
    fn flops(&self, rows: usize) -> u64 {
        6 * (rows * self.sorted.top_k * self.sorted.hidden * self.width) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::combine::Combine;
    use crate::ops::dispatch::Dispatch;
    use crate::ops::router::{Gate, Router, Scoring, TopkMethod};
    use crate::testing::{Net, TestInput, build};

    fn nets(residual: bool, fuse: bool, [hidden, width]: [usize; 2]) -> Vec<Net> {
        let gate = Gate {
            scoring_func: Scoring::Sigmoid,
            topk_method: TopkMethod::NoauxTc,
            n_routed_experts: 6,
            num_experts_per_tok: 2,
            n_group: 1,
            topk_group: 1,
            norm_topk_prob: true,
            routed_scaling_factor: 1.5,
            aux_loss_alpha: 0.0,
        };
        let mut nets = build(true, 10, |b, p| {
            let x = TestInput::input(b, p, hidden);
            let residual = residual.then(|| TestInput::residual(b, p, hidden));
            let weight = p.declare("mlp.gate.weight", &[6, hidden]);
            let experts = (0..6)
                .map(|e| {
                    let mut declare = |name: &str, shape: &[usize]| {
                        let p_ = p.declare(format!("mlp.experts.{e}.{name}.weight"), shape);
                        p.mark_linear(p_);
                        p_
                    };
                    let [gate, up] = ["gate_proj", "up_proj"].map(|name| declare(name, &[width, hidden]));
                    let expert = Expert { gate, up, down: declare("down_proj", &[hidden, width]) };
                    assert!(!fuse || p.fuse_linear(&[gate, up]));
                    expert
                })
                .collect();
            let routes = Router::push(b, p, x, weight, None, gate);
            let sorted = Dispatch::push(b, x, routes, 6);
            let y = Experts::push(b, p, sorted, experts);
            Combine::push(b, y, routes, sorted, residual)
        });
        for net in &mut nets {
            net.spread("mlp.gate.weight", 0.5);
            net.spread("proj", 0.4);
        }
        nets
    }

    #[test]
    fn gradients() {
        for (residual, fuse) in [(false, false), (true, false), (true, true)] {
            for mut net in nets(residual, fuse, [10, 8]) {
                net.check_gradients(2e-3);
                net.check_bits();
            }
        }
    }

    /// A GPU has other kernels for multiples of eight.
    #[test]
    fn bits_of_even_sizes() {
        nets(true, true, [16, 24]).iter_mut().for_each(Net::check_bits);
    }

    /// Computes every token separately from the definition, in f64.
    #[test]
    fn equals_the_definition() {
        for (mut net, mut apart) in nets(true, true, [10, 8]).into_iter().zip(nets(true, false, [10, 8])) {
            let y = net.output();
            assert_eq!(y, apart.output(), "fused or not");
            let value = |name: &str| -> Vec<f64> { net.value(name).iter().map(|&x| x as f64).collect() };
            let times = |w: &[f64], x: &[f64]| -> Vec<f64> {
                w.chunks(x.len()).map(|w| w.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
            };
            let (x, stream, router) = (value("test.input.0"), value("test.residual.1"), value("mlp.gate.weight"));
            for t in 0..10 {
                let x = &x[t * 10..][..10];
                let s: Vec<f64> = times(&router, x).iter().map(|z| 1.0 / (1.0 + (-z).exp())).collect();
                let mut best: Vec<usize> = (0..6).collect();
                best.sort_by(|&a, &b| s[b].total_cmp(&s[a]));
                let sum = s[best[0]] + s[best[1]];
                let mut expected = stream[t * 10..][..10].to_vec();
                for &e in &best[..2] {
                    let weight = |name: &str| value(&format!("mlp.experts.{e}.{name}.weight"));
                    let (gate, up) = (times(&weight("gate_proj"), x), times(&weight("up_proj"), x));
                    let h: Vec<f64> = gate.iter().zip(&up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
                    let out = times(&weight("down_proj"), &h);
                    expected.iter_mut().zip(out).for_each(|(y, o)| *y += 1.5 * s[e] / sum * o);
                }
                for (y, e) in y[t * 10..][..10].iter().zip(expected) {
                    assert!((*y as f64 - e).abs() < 1e-5 * (1.0 + e.abs()), "{y} {e}");
                }
            }
        }
    }
}
