//! Tests of the router: selections worked out by hand, gradients, the balance loss.

use super::*;
use crate::check::{Probe, build};

fn gate(scoring_func: Scoring, topk_method: TopkMethod) -> Gate {
    Gate {
        scoring_func,
        topk_method,
        n_routed_experts: 8,
        num_experts_per_tok: 3,
        n_group: 4,
        topk_group: 2,
        norm_topk_prob: true,
        routed_scaling_factor: 2.5,
        aux_loss_alpha: 0.0,
    }
}

fn select(gate: Gate, s: &[f32], bias: Option<&[f32]>) -> (Vec<u32>, Vec<f32>) {
    let (mut choice, mut chosen, mut weights) = (vec![0.0; s.len()], vec![0; 3], vec![0.0; 3]);
    gate.select(s, bias, &mut choice, &mut chosen);
    gate.weigh(s, &chosen, &mut weights);
    (chosen, weights)
}

#[test]
fn v3_keeps_groups_by_their_two_best_and_weighs_without_the_bias() {
    let s = [0.9, 0.1, 0.5, 0.6, 0.55, 0.56, 0.2, 0.3];
    let gate = gate(Scoring::Sigmoid, TopkMethod::NoauxTc);
    // Group sums 1.0, 1.1, 1.11, 0.5: the best expert's group is not among the two best.
    let (chosen, weights) = select(gate, &s, None);
    assert_eq!(chosen, [3, 5, 4]);
    let sum = 0.6 + 0.56 + 0.55;
    assert!(weights.iter().zip([0.6, 0.56, 0.55]).all(|(w, s)| (w - 2.5 * s / sum).abs() < 1e-6));
    // The bias moves the choice to groups 0 and 3; the weights are still the affinities.
    let bias = [0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.9, 0.0];
    let (chosen, weights) = select(gate, &s, Some(&bias));
    assert_eq!(chosen, [6, 0, 1]);
    assert!(weights.iter().zip([0.2, 0.9, 0.1]).all(|(w, s)| (w - 2.5 * s / 1.2).abs() < 1e-6));
}

#[test]
fn unselected_groups_are_masked_with_minus_infinity() {
    // Every choice of the kept groups is negative: a mask of zero would pick from the others.
    let s = [0.3, 0.2, 0.1, 0.15, 0.12, 0.1, 0.1, 0.1];
    let bias = [-1.0; 8];
    let (chosen, _) = select(gate(Scoring::Sigmoid, TopkMethod::NoauxTc), &s, Some(&bias));
    assert_eq!(chosen, [0, 1, 3]);
}

#[test]
fn v2_limits_groups_by_their_best_and_normalises_or_scales() {
    let s = [0.3, 0.01, 0.2, 0.19, 0.05, 0.15, 0.06, 0.04];
    let mut gate = gate(Scoring::Softmax, TopkMethod::GroupLimitedGreedy);
    let (chosen, weights) = select(gate, &s, None);
    assert_eq!(chosen, [0, 2, 3]);
    assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-6, "normalised, not scaled");
    gate.norm_topk_prob = false;
    let (_, weights) = select(gate, &s, None);
    assert!((weights[1] - 2.5 * 0.2).abs() < 1e-6, "scaled, not normalised");
    gate.topk_method = TopkMethod::Greedy;
    let s = [0.3, 0.01, 0.1, 0.1, 0.05, 0.15, 0.06, 0.23];
    assert_eq!(select(gate, &s, None).0, [0, 7, 5]);
}

#[test]
fn no_expert_is_chosen_twice_whatever_the_affinities() {
    for affinities in [[f32::NAN; 8], [f32::NEG_INFINITY; 8], [f32::INFINITY; 8]] {
        for (scoring, method) in [(Scoring::Sigmoid, TopkMethod::NoauxTc), (Scoring::Softmax, TopkMethod::Greedy)] {
            let (mut chosen, _) = select(gate(scoring, method), &affinities, None);
            chosen.sort_unstable();
            chosen.dedup();
            assert_eq!(chosen.len(), 3, "{affinities:?}");
        }
    }
}

#[test]
fn ties_go_to_the_lower_index() {
    let s = [0.5; 8];
    assert_eq!(select(gate(Scoring::Sigmoid, TopkMethod::NoauxTc), &s, None).0, [0, 1, 2]);
    assert_eq!(select(gate(Scoring::Softmax, TopkMethod::Greedy), &s, None).0, [0, 1, 2]);
}

fn net(gate: Gate, bias: bool) -> crate::check::Net {
    let mut net = build(true, 8, |b, p| {
        let x = Probe::input(b, p, 6);
        let weight = p.declare("mlp.gate.weight", &[8, 6]);
        let bias = bias.then(|| p.declare("mlp.gate.e_score_correction_bias", &[8]));
        bias.into_iter().for_each(|bias| p.freeze(bias));
        Router::push(b, p, x, weight, bias, gate).weights
    });
    net.spread("mlp.gate.weight", 0.7);
    net.h = 0.003;
    net
}

#[test]
fn gradients() {
    for (scoring, method) in [
        (Scoring::Sigmoid, TopkMethod::NoauxTc),
        (Scoring::Softmax, TopkMethod::Greedy),
        (Scoring::Softmax, TopkMethod::GroupLimitedGreedy),
    ] {
        for norm_topk_prob in [true, false] {
            let gate = Gate { norm_topk_prob, ..gate(scoring, method) };
            let mut net = net(gate, method == TopkMethod::NoauxTc);
            net.check_gradients(2e-3);
            net.check_bits();
            net.forward(Precision::F32);
            let load = &net.tape.out().expert_load[0];
            assert_eq!(load.iter().sum::<u32>() as usize, 3 * net.batch.len());
        }
    }
}

#[test]
fn balance_loss_and_its_gradient() {
    for (scoring, method) in [(Scoring::Sigmoid, TopkMethod::NoauxTc), (Scoring::Softmax, TopkMethod::Greedy)] {
        let mut net = net(Gate { aux_loss_alpha: 3.0, ..gate(scoring, method) }, false);
        net.check_gradients(2e-3);
        let share: f32 = net.batch.weights.iter().sum();
        // Perfect balance gives α; f and P correlate, so the loss is larger.
        assert!(net.tape.out().loss[2] > 3.0 * share as f64);
    }
}

#[test]
fn balance_loss_by_hand() {
    let mut net = net(Gate { aux_loss_alpha: 1.0, ..gate(Scoring::Sigmoid, TopkMethod::NoauxTc) }, true);
    // Two experts' logits are 1, the others' 0 for every token: σ = 0.7311, 0.5. The three best are 0, 1 and (tie) 2.
    net.params.data_mut().fill(0.0);
    let (x, weight) = (net.params.find("check.input.0").unwrap(), net.params.find("mlp.gate.weight").unwrap());
    net.params.get_mut(x).iter_mut().step_by(6).for_each(|x| *x = 1.0);
    net.params.get_mut(weight)[0] = 1.0;
    net.params.get_mut(weight)[6] = 1.0;
    net.forward(Precision::F32);
    let (a, b) = (1.0 / (1.0 + (-1f64).exp()), 0.5);
    // f = 8/3 for the three, P = s / (2a + 6b)
    let per_sequence = 8.0 / 3.0 * (2.0 * a + b) / (2.0 * a + 6.0 * b);
    let share: f32 = net.batch.weights.iter().sum();
    assert!((net.tape.out().loss[2] - per_sequence * share as f64).abs() < 1e-6);
}
