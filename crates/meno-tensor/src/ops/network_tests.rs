//! A small network of everything except attention: dense block, MoE block with shared experts, tied head, MTP head.

use super::Columns;
use super::combine::Combine;
use super::dispatch::Dispatch;
use super::embedding::Embedding;
use super::experts::{Expert, Experts};
use super::head::Head;
use super::linear::Linear;
use super::norm_linear::NormLinear;
use super::rms_norm::{Norm, RmsNorm};
use super::router::{Gate, Router, Scoring, TopkMethod};
use super::swiglu::SwigluLinear;
use crate::device::Device;
use crate::ops::Builder;
use crate::precision::Precision;
use crate::tape::{Activation, Mode, Param, ParamLayout};
use crate::testing::{Net, VOCAB, check_agreement};

const HIDDEN: usize = 12;

fn linear(p: &mut ParamLayout, name: &str, shape: &[usize]) -> Param {
    let weight = p.declare(format!("{name}.weight"), shape);
    p.mark_linear(weight);
    weight
}

fn norm(p: &mut ParamLayout, name: &str) -> Norm {
    Norm { weight: p.declare(format!("{name}_norm.weight"), &[HIDDEN]), eps: 1e-6 }
}

/// gate, up, down of an MLP on `n`, added to `x`.
fn mlp(
    b: &mut Builder,
    p: &mut ParamLayout,
    name: &str,
    (n, norm): (Activation, Option<Norm>),
    x: Activation,
) -> Activation {
    let gate = linear(p, &format!("{name}.gate_proj"), &[9, HIDDEN]);
    let up = linear(p, &format!("{name}.up_proj"), &[9, HIDDEN]);
    let down = linear(p, &format!("{name}.down_proj"), &[HIDDEN, 9]);
    let view = Columns::all(b, n);
    let gate_up = NormLinear::push(b, p, view, norm, &[(gate, None), (up, None)]);
    SwigluLinear::push(b, p, gate_up, down, Some(x))
}

fn moe(b: &mut Builder, p: &mut ParamLayout, x: Activation) -> Activation {
    let norm = norm(p, "moe");
    let n = RmsNorm::push(b, p, x, norm);
    let gate = Gate {
        scoring_func: Scoring::Sigmoid,
        topk_method: TopkMethod::NoauxTc,
        n_routed_experts: 4,
        num_experts_per_tok: 2,
        n_group: 2,
        topk_group: 1,
        norm_topk_prob: true,
        routed_scaling_factor: 2.5,
        aux_loss_alpha: 0.01,
    };
    let weight = p.declare("mlp.gate.weight", &[4, HIDDEN]);
    let routes = Router::push(b, p, n, weight, None, gate);
    let experts = (0..4)
        .map(|e| Expert {
            gate: linear(p, &format!("experts.{e}.gate_proj"), &[5, HIDDEN]),
            up: linear(p, &format!("experts.{e}.up_proj"), &[5, HIDDEN]),
            down: linear(p, &format!("experts.{e}.down_proj"), &[HIDDEN, 5]),
        })
        .collect();
    let sorted = Dispatch::push(b, n, routes, 4);
    let y = Experts::push(b, p, sorted, experts);
    let y = Combine::push(b, y, routes, sorted, Some(x));
    mlp(b, p, "shared_experts", (n, None), y)
}

fn network(device: Device, recompute: bool) -> Net {
    let mut net = Net::new(device, Mode { rows: 13, train: true, recompute }, &|b, p| {
        let embed = linear(p, "model.embed_tokens", &[VOCAB, HIDDEN]);
        let x = Embedding::push(b, p, embed);
        let x = b.block(|b| {
            let norm = norm(p, "dense");
            mlp(b, p, "mlp", (x, Some(norm)), x)
        });
        let x = b.block(|b| moe(b, p, x));
        let last = norm(p, "model");
        Head::push(b, p, x, Some(last), embed, 0);
        let (enorm, hnorm) = (norm(p, "e"), norm(p, "h"));
        let next = Embedding::push_next(b, p, embed);
        let both = b.activation(2 * HIDDEN);
        for (i, (x, norm)) in [(next, enorm), (x, hnorm)].into_iter().enumerate() {
            let op = RmsNorm { x: Columns::all(b, x), norm, y: Columns::range(b, both, i * HIDDEN..(i + 1) * HIDDEN) };
            b.push(op);
        }
        let eh_proj = linear(p, "eh_proj", &[HIDDEN, 2 * HIDDEN]);
        let x = Linear::push(b, p, both, eh_proj, None, None);
        let last = norm(p, "shared_head");
        Head::push(b, p, x, Some(last), embed, 1);
        None
    });
    net.spread("proj.weight", 0.4);
    net.spread("embed", 0.5);
    net.h = 0.008;
    net
}

#[test]
fn gradients() {
    for device in Device::all() {
        let mut net = network(device, false);
        net.check_gradients(4e-3);
        net.check_bits();
        let loss = net.losses();
        assert!(
            loss.next_token > 0.0 && loss.mtp > 0.0 && loss.balance > 0.0,
            "both heads and the balance loss count: {loss:?}"
        );
    }
}

#[test]
fn recomputation_changes_no_bit() {
    for (device, precision) in Device::all().into_iter().flat_map(|d| [(d, Precision::F32), (d, Precision::Bf16)]) {
        let (mut kept, mut recomputed) = (network(device, false), network(device, true));
        assert_eq!(kept.step(precision), recomputed.step(precision));
        let (a, b) = (kept.executor.outputs(), recomputed.executor.outputs());
        assert_eq!(a.expert_load, b.expert_load);
        assert_eq!(a.logprobs, b.logprobs);
        assert!(recomputed.executor.bytes() < kept.executor.bytes());
    }
}

#[test]
fn devices_agree() {
    for recompute in [false, true] {
        check_agreement(Device::all().into_iter().map(|device| network(device, recompute)), Precision::F32, 2e-5);
    }
}
