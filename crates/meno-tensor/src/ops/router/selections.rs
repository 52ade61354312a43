//! The router's selection, with expected results worked out by hand. Every backend that selects on the host runs these
//! cases.

use super::{Gate, Scoring, TopkMethod};

/// Returns the experts of a token with these affinities, best first, and their weights.
pub(crate) type Choose = fn(Gate, &[f32], Option<&[f32]>) -> (Vec<u32>, Vec<f32>);

/// Runs all cases on a backend's selection.
pub(crate) fn check(choose: Choose) {
    v3_keeps_groups_by_their_two_best_and_weighs_without_the_bias(choose);
    unselected_groups_are_masked_with_minus_infinity(choose);
    v2_limits_groups_by_their_best_and_normalizes_or_scales(choose);
    no_expert_is_chosen_twice_whatever_the_affinities(choose);
    ties_go_to_the_lower_index(choose);
}

pub(super) fn gate(scoring_func: Scoring, topk_method: TopkMethod) -> Gate {
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

fn v3_keeps_groups_by_their_two_best_and_weighs_without_the_bias(choose: Choose) {
    let s = [0.9, 0.1, 0.5, 0.6, 0.55, 0.56, 0.2, 0.3];
    let gate = gate(Scoring::Sigmoid, TopkMethod::NoauxTc);
    // Group sums 1.0, 1.1, 1.11, 0.5: the best expert's group is not among the two best.
    let (chosen, weights) = choose(gate, &s, None);
    assert_eq!(chosen, [3, 5, 4]);
    let sum = 0.6 + 0.56 + 0.55;
    assert!(weights.iter().zip([0.6, 0.56, 0.55]).all(|(w, s)| (w - 2.5 * s / sum).abs() < 1e-6));
    // The bias moves the choice to groups 0 and 3; the weights are still the affinities.
    let bias = [0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.9, 0.0];
    let (chosen, weights) = choose(gate, &s, Some(&bias));
    assert_eq!(chosen, [6, 0, 1]);
    assert!(weights.iter().zip([0.2, 0.9, 0.1]).all(|(w, s)| (w - 2.5 * s / 1.2).abs() < 1e-6));
}

fn unselected_groups_are_masked_with_minus_infinity(choose: Choose) {
    // All selection scores of the kept groups are negative: a mask of zero would pick from the others.
    let s = [0.3, 0.2, 0.1, 0.15, 0.12, 0.1, 0.1, 0.1];
    let bias = [-1.0; 8];
    let (chosen, _) = choose(gate(Scoring::Sigmoid, TopkMethod::NoauxTc), &s, Some(&bias));
    assert_eq!(chosen, [0, 1, 3]);
}

fn v2_limits_groups_by_their_best_and_normalizes_or_scales(choose: Choose) {
    let s = [0.3, 0.01, 0.2, 0.19, 0.05, 0.15, 0.06, 0.04];
    let mut gate = gate(Scoring::Softmax, TopkMethod::GroupLimitedGreedy);
    let (chosen, weights) = choose(gate, &s, None);
    assert_eq!(chosen, [0, 2, 3]);
    assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-6, "normalized, not scaled");
    gate.norm_topk_prob = false;
    let (_, weights) = choose(gate, &s, None);
    assert!((weights[1] - 2.5 * 0.2).abs() < 1e-6, "scaled, not normalized");
    gate.topk_method = TopkMethod::Greedy;
    let s = [0.3, 0.01, 0.1, 0.1, 0.05, 0.15, 0.06, 0.23];
    assert_eq!(choose(gate, &s, None).0, [0, 7, 5]);
}

fn no_expert_is_chosen_twice_whatever_the_affinities(choose: Choose) {
    for affinities in [[f32::NAN; 8], [f32::NEG_INFINITY; 8], [f32::INFINITY; 8]] {
        for (scoring, method) in [(Scoring::Sigmoid, TopkMethod::NoauxTc), (Scoring::Softmax, TopkMethod::Greedy)] {
            let (mut chosen, _) = choose(gate(scoring, method), &affinities, None);
            chosen.sort_unstable();
            chosen.dedup();
            assert_eq!(chosen.len(), 3, "{affinities:?}");
        }
    }
}

fn ties_go_to_the_lower_index(choose: Choose) {
    let s = [0.5; 8];
    assert_eq!(choose(gate(Scoring::Sigmoid, TopkMethod::NoauxTc), &s, None).0, [0, 1, 2]);
    assert_eq!(choose(gate(Scoring::Softmax, TopkMethod::Greedy), &s, None).0, [0, 1, 2]);
}
