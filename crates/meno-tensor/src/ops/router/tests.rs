//! Tests of the router on every device: gradients, the balance loss.

use super::selections::gate;
use super::*;
use crate::precision::Precision;
use crate::testing::{TestInput, build};

fn nets(gate: Gate, bias: bool) -> Vec<crate::testing::Net> {
    let mut nets = build(true, 8, |b, p| {
        let x = TestInput::input(b, p, 6);
        let weight = p.declare("mlp.gate.weight", &[8, 6]);
        let bias = bias.then(|| p.declare("mlp.gate.e_score_correction_bias", &[8]));
        bias.into_iter().for_each(|bias| p.freeze(bias));
        Router::push(b, p, x, weight, bias, gate).weights
    });
    for net in &mut nets {
        net.spread("mlp.gate.weight", 0.7);
        net.h = 0.003;
    }
    nets
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
            for mut net in nets(gate, method == TopkMethod::NoauxTc) {
                net.check_gradients(2e-3);
                net.check_bits();
                net.forward(Precision::F32);
                let load = &net.executor.outputs().expert_load[0];
                assert_eq!(load.iter().sum::<u32>() as usize, 3 * net.batch.len());
            }
        }
    }
}

#[test]
fn balance_loss_and_its_gradient() {
    for (scoring, method) in [(Scoring::Sigmoid, TopkMethod::NoauxTc), (Scoring::Softmax, TopkMethod::Greedy)] {
        for mut net in nets(Gate { aux_loss_alpha: 3.0, ..gate(scoring, method) }, false) {
            net.check_gradients(2e-3);
            let share: f32 = net.batch.weights.iter().sum();
            // Perfect balance gives α; f and P correlate, so the loss is larger.
            assert!(net.executor.outputs().losses.balance > 3.0 * share as f64);
        }
    }
}

#[test]
fn balance_loss_by_hand() {
    for mut net in nets(Gate { aux_loss_alpha: 1.0, ..gate(Scoring::Sigmoid, TopkMethod::NoauxTc) }, true) {
        // For every token, two experts' logits are 1 and the others' 0: σ = 0.7311, 0.5. The three best are 0, 1 and
        // (tie) 2.
        net.spread("", 0.0);
        let layout = net.weights.layout().clone();
        let (x, weight) = (layout.find("test.input.0").unwrap(), layout.find("mlp.gate.weight").unwrap());
        net.update(x, |x| x.iter_mut().step_by(6).for_each(|x| *x = 1.0));
        net.update(weight, |w| (w[0], w[6]) = (1.0, 1.0));
        net.forward(Precision::F32);
        let (a, b) = (1.0 / (1.0 + (-1f64).exp()), 0.5);
        // f = 8/3 for the three, P = s / (2a + 6b)
        let per_sequence = 8.0 / 3.0 * (2.0 * a + b) / (2.0 * a + 6.0 * b);
        let share: f32 = net.batch.weights.iter().sum();
        assert!((net.executor.outputs().losses.balance - per_sequence * share as f64).abs() < 1e-6);
    }
}
