//! Every op on every device: values, losses and gradients agree up to rounding.

use super::attention::{Attention, HeadView};
use super::combine::Combine;
use super::dispatch::Dispatch;
use super::embedding::Embedding;
use super::experts::{Expert, Experts};
use super::head::Head;
use super::hidden::{LoadHidden, StoreHidden};
use super::linear::Linear;
use super::logits::Logits;
use super::mla::{AbsorbOutput, AbsorbQuery, MlaKeys};
use super::norm_linear::NormLinear;
use super::qk_norm::QkNorm;
use super::rms_norm::{Norm, RmsNorm};
use super::rope::{Pairs, Rope, RopeTable, frequencies};
use super::router::{Gate, Router, Scoring, TopkMethod};
use super::scale::Scale;
use super::swiglu::SwigluLinear;
use super::{Columns, Op};
use crate::ops::Builder;
use crate::precision::Precision;
use crate::tape::{Activation, Param, ParamLayout};
use crate::testing::{Net, TestInput, VOCAB, build, build_loss, check_agreement};
use std::sync::Arc;

const ROWS: usize = 17;

/// An f32 sum of n terms has an error of about √n · 2⁻²⁴ of the largest result, and backward is a chain of such sums.
/// Measured: up to 1.5e-6.
const F32: f32 = 2e-5;
/// An intermediate result that differs in its last f32 bit may round to the adjacent bf16, 2⁻⁸ away, which changes one
/// term of some sums. Measured: no more than in f32. A device that rounds at other points changes all terms, by 1e-3 to
/// 1e-2.
const BF16: f32 = 1e-3;

/// The networks of a case, one per device.
type Case = (&'static str, Box<dyn Fn() -> Vec<Net>>);

fn case(name: &'static str, nets: impl Fn() -> Vec<Net> + 'static) -> Case {
    (name, Box::new(nets))
}

/// A case of an op that can be trained.
fn trained(name: &'static str, define: impl Fn(&mut Builder, &mut ParamLayout) -> Activation + 'static) -> Case {
    case(name, move || build(true, ROWS, &define))
}

fn linear(p: &mut ParamLayout, name: impl Into<String>, shape: &[usize]) -> Param {
    let weight = p.declare(name, shape);
    p.mark_linear(weight);
    weight
}

fn norm(p: &mut ParamLayout, name: &str, cols: usize) -> Norm {
    Norm { weight: p.declare(format!("{name}_norm.weight"), &[cols]), eps: 1e-5 }
}

fn view(act: Activation, offset: usize, head_stride: usize) -> HeadView {
    HeadView { act, offset, head_stride }
}

fn rows_cases() -> Vec<Case> {
    vec![
        trained("embedding", |b, p| {
            let weight = p.declare("embed.weight", &[VOCAB, 12]);
            Embedding::push(b, p, weight)
        }),
        trained("next embedding", |b, p| {
            let weight = p.declare("embed.weight", &[VOCAB, 12]);
            Embedding::push_next(b, p, weight)
        }),
        trained("norm", |b, p| {
            let (x, norm) = (TestInput::input(b, p, 37), norm(p, "x", 37));
            RmsNorm::push(b, p, x, norm)
        }),
        trained("norms of columns", |b, p| {
            let (x, y) = (TestInput::input(b, p, 24), b.activation(24));
            for (at, to) in [(0..10, 14..24), (10..24, 0..14)] {
                let norm = norm(p, &at.start.to_string(), at.len());
                b.push(RmsNorm { x: Columns::range(b, x, at), norm, y: Columns::range(b, y, to) });
            }
            y
        }),
        trained("norm of heads", |b, p| {
            let (x, y, norm) = (TestInput::input(b, p, 24), b.activation(18), norm(p, "head", 6));
            b.push(QkNorm { x: Columns::range(b, x, 3..21), norm, y: Columns::all(b, y) });
            y
        }),
        trained("scale", |b, p| {
            let x = TestInput::input(b, p, 37);
            Scale::push(b, x, 1.7)
        }),
        trained("interleaved rotation", |b, p| rotated(b, p, Pairs::Interleaved)),
        trained("half-split rotation", |b, p| rotated(b, p, Pairs::HalfSplit)),
    ]
}

fn rotated(b: &mut Builder, p: &mut ParamLayout, pairs: Pairs) -> Activation {
    let x = TestInput::input(b, p, 60);
    let table = Arc::new(RopeTable::new(&frequencies(100.0, 12), 1.3, ROWS));
    b.push(Rope { x, ld: 60, offset: 5, head_stride: 18, heads: 3, pairs, table });
    x
}

fn linear_cases() -> Vec<Case> {
    vec![
        trained("linear", |b, p| {
            let (x, residual) = (TestInput::input(b, p, 190), TestInput::residual(b, p, 11));
            let (weight, bias) = (linear(p, "w", &[11, 190]), p.declare("b", &[11]));
            Linear::push(b, p, x, weight, Some(bias), Some(residual))
        }),
        trained("linear layers of columns", |b, p| {
            let x = TestInput::input(b, p, 20);
            let weights = [(linear(p, "w0", &[9, 12]), None), (linear(p, "w1", &[7, 12]), Some(p.declare("b", &[7])))];
            let view = Columns::range(b, x, 3..15);
            NormLinear::push(b, p, view, None, &weights)
        }),
        trained("fused linear layers behind a norm", |b, p| {
            let x = TestInput::input(b, p, 20);
            let weights = [8, 16, 4].map(|n| linear(p, format!("w{n}"), &[n, 20]));
            assert!(p.fuse_linear(&weights));
            let (bias, norm) = (p.declare("b", &[16]), norm(p, "x", 20));
            let weights = [(weights[0], None), (weights[1], Some(bias)), (weights[2], None)];
            NormLinear::push(b, p, Columns::all(b, x), Some(norm), &weights)
        }),
        trained("the second half of an MLP", |b, p| {
            let (gate_up, residual) = (TestInput::input(b, p, 2 * 41), TestInput::residual(b, p, 13));
            let weight = linear(p, "down", &[13, 41]);
            SwigluLinear::push(b, p, gate_up, weight, Some(residual))
        }),
    ]
}

/// Attention over q, k and v in one activation.
fn attention(b: &mut Builder, p: &mut ParamLayout, heads: usize, kv_heads: usize) -> Activation {
    let (qk_dim, v_dim) = (24, 16);
    let (k, v) = (heads * qk_dim, (heads + kv_heads) * qk_dim);
    let act = TestInput::input(b, p, v + kv_heads * v_dim);
    let (out, lse) = (b.activation(heads * v_dim), b.activation(heads));
    let (q, k, v) = (view(act, 0, qk_dim), view(act, k, qk_dim), view(act, v, v_dim));
    b.push(Attention { q, k, v, out, lse, heads, kv_heads, qk_dim, v_dim, scale: 0.3, layer: 0 });
    out
}

/// Expanded latent attention: the gradient of kv has two writers.
fn expanded(b: &mut Builder, p: &mut ParamLayout) -> Activation {
    let (heads, nope_dim, rope_dim, v_dim, c) = (3, 10, 6, 12, 20);
    let qk_dim = nope_dim + rope_dim;
    let [q, kv, kv_a] = [heads * qk_dim, heads * (nope_dim + v_dim), c + rope_dim].map(|n| TestInput::input(b, p, n));
    let (k, out, lse) = (b.activation(heads * qk_dim), b.activation(heads * v_dim), b.activation(heads));
    let (nope, k_pe) = (view(kv, 0, nope_dim + v_dim), view(kv_a, c, 0));
    b.push(MlaKeys { nope, k_pe, k, heads, nope_dim, rope_dim });
    let (q, k, v) = (view(q, 0, qk_dim), view(k, 0, qk_dim), view(kv, nope_dim, nope_dim + v_dim));
    b.push(Attention { q, k, v, out, lse, heads, kv_heads: heads, qk_dim, v_dim, scale: 0.25, layer: 0 });
    out
}

/// Queries against the latent, and outputs from it.
fn absorbed(b: &mut Builder, p: &mut ParamLayout) -> Activation {
    let (heads, nope_dim, rope_dim, v_dim, kv_lora_rank) = (3, 10, 6, 12, 20);
    let q = view(TestInput::input(b, p, heads * 16 + 2), 2, 16);
    let weight = p.declare("kv_b_proj.weight", &[heads * (nope_dim + v_dim), kv_lora_rank]);
    let (y, out) = (b.activation(heads * (kv_lora_rank + rope_dim)), b.activation(heads * v_dim));
    b.push(AbsorbQuery { q, weight, y, heads, nope_dim, rope_dim, v_dim, kv_lora_rank });
    let mean = TestInput::input(b, p, heads * kv_lora_rank);
    b.push(AbsorbOutput { x: mean, weight, y: out, heads, nope_dim, v_dim, kv_lora_rank });
    let both = b.activation(heads * (kv_lora_rank + rope_dim + v_dim));
    // A norm combines both results in one output.
    for (x, at) in [(y, 0), (out, b.cols(y))] {
        let (cols, norm) = (b.cols(x), norm(p, &at.to_string(), b.cols(x)));
        b.push(RmsNorm { x: Columns::all(b, x), norm, y: Columns::range(b, both, at..at + cols) });
    }
    both
}

fn attention_cases() -> Vec<Case> {
    vec![
        trained("attention", |b, p| attention(b, p, 3, 3)),
        trained("attention of groups", |b, p| attention(b, p, 6, 2)),
        trained("latent attention", expanded),
        case("absorbed latent attention", || build(false, ROWS, absorbed)),
    ]
}

fn gate(scoring_func: Scoring, topk_method: TopkMethod, norm_topk_prob: bool) -> Gate {
    Gate {
        scoring_func,
        topk_method,
        n_routed_experts: 8,
        num_experts_per_tok: 3,
        n_group: 4,
        topk_group: 2,
        norm_topk_prob,
        routed_scaling_factor: 2.5,
        aux_loss_alpha: 0.1,
    }
}

fn router(gate: Gate) -> Vec<Net> {
    let mut nets = build(true, ROWS, |b, p| {
        let x = TestInput::input(b, p, 6);
        let weight = p.declare("mlp.gate.weight", &[8, 6]);
        let bias = (gate.topk_method == TopkMethod::NoauxTc).then(|| p.declare("e_score_correction_bias", &[8]));
        bias.into_iter().for_each(|bias| p.freeze(bias));
        Router::push(b, p, x, weight, bias, gate).weights
    });
    nets.iter_mut().for_each(|net| net.spread("mlp.gate.weight", 0.7));
    nets
}

/// `rows` tokens and eight experts with their router.
fn experts(fuse: bool, rows: usize, [hidden, width]: [usize; 2]) -> Vec<Net> {
    let mut nets = build(true, rows, |b, p| {
        let (x, residual) = (TestInput::input(b, p, hidden), TestInput::residual(b, p, hidden));
        let weight = p.declare("mlp.gate.weight", &[8, hidden]);
        let expert = |e: usize, p: &mut ParamLayout| {
            let inputs = ["gate_proj", "up_proj"];
            let [gate, up] = inputs.map(|name| linear(p, format!("{e}.{name}"), &[width, hidden]));
            assert!(!fuse || p.fuse_linear(&[gate, up]));
            Expert { gate, up, down: linear(p, format!("{e}.down_proj"), &[hidden, width]) }
        };
        let experts = (0..8).map(|e| expert(e, p)).collect();
        let gate = gate(Scoring::Sigmoid, TopkMethod::NoauxTc, true);
        let routes = Router::push(b, p, x, weight, None, gate);
        let sorted = Dispatch::push(b, x, routes, 8);
        let y = Experts::push(b, p, sorted, experts);
        Combine::push(b, y, routes, sorted, Some(residual))
    });
    // Logits of the size that ten inputs give: where affinities are all near 1, many are equal.
    let factor = (10.0 / hidden as f32).sqrt();
    for net in &mut nets {
        net.spread("mlp.gate.weight", factor);
        net.spread("proj", 0.4 * factor);
        // A device that rounds x would choose other experts where two are nearly equal.
        for input in net.inputs.clone() {
            net.update(input, |x| x.iter_mut().for_each(|x| *x = half::bf16::from_f32(*x).to_f32()));
        }
    }
    nets
}

fn expert_cases() -> Vec<Case> {
    use {Scoring::*, TopkMethod::*};
    vec![
        case("V3's router", || router(gate(Sigmoid, NoauxTc, true))),
        case("V3's router without normalization", || router(gate(Sigmoid, NoauxTc, false))),
        case("V2's greedy router", || router(gate(Softmax, Greedy, false))),
        case("V2's router limited to groups", || router(gate(Softmax, GroupLimitedGreedy, false))),
        case("V2's normalizing router", || router(gate(Softmax, GroupLimitedGreedy, true))),
        case("experts", || experts(false, ROWS, [10, 8])),
        case("fused experts", || experts(true, ROWS, [10, 8])),
        // A GPU has other kernels for multiples of eight, and tiles of 64 rows and 128 columns.
        case("experts of many tokens", || experts(false, 200, [264, 72])),
    ]
}

fn head(norm_first: bool, index: usize, entropy: f32) -> Vec<Net> {
    let mut nets = build_loss(true, ROWS, |b, p| {
        let x = TestInput::input(b, p, 14);
        let norm = norm_first.then(|| norm(p, "model", 14));
        let weight = linear(p, "lm_head.weight", &[VOCAB, 14]);
        Head::push(b, p, x, norm, weight, index);
    });
    nets.iter_mut().for_each(|net| (net.temperature, net.entropy) = (0.7, entropy));
    nets
}

/// Loads hidden states; returns logits and hidden states.
fn generation() -> Vec<Net> {
    let mut nets = build_loss(false, ROWS, |b, p| {
        let (x, norm) = (LoadHidden::push(b, 14), norm(p, "model", 14));
        let weight = linear(p, "lm_head.weight", &[VOCAB, 14]);
        Head::push(b, p, x, Some(norm), weight, 0);
        Logits::push(b, p, x, Some(norm), weight);
        let n = RmsNorm::push(b, p, x, norm);
        b.push(StoreHidden { x: n });
    });
    for net in &mut nets {
        let mut rng = crate::rng::Rng::new(&[12]);
        net.batch.hidden = (0..ROWS * 14).map(|_| rng.normal()).collect();
        net.batch.logit_rows = vec![0, 3, 16];
    }
    nets
}

fn cases() -> Vec<Case> {
    let heads = vec![
        case("head", || head(true, 0, 0.0)),
        case("head with entropy", || head(true, 0, -1.5)),
        case("head without a norm", || head(false, 0, 0.0)),
        case("second head", || head(true, 1, 0.3)),
        case("generation", generation),
    ];
    [rows_cases(), linear_cases(), attention_cases(), expert_cases(), heads].into_iter().flatten().collect()
}

#[test]
fn devices_agree_on_every_op() {
    let mut seen = Vec::new();
    for (name, nets) in cases() {
        println!("{name}"); // shown if the test fails
        for (precision, tolerance) in [(Precision::F32, F32), (Precision::Bf16, BF16)] {
            let nets = nets();
            seen.extend(nets[0].program().ops().iter().map(Op::variant));
            check_agreement(nets, precision, tolerance);
        }
    }
    for variant in Op::VARIANTS {
        assert!(seen.contains(variant), "no case has {variant}");
    }
}
