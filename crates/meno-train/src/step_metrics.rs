//! The metrics of an optimizer step of cross-entropy training.

use crate::checkpoint::State;
use crate::metrics::Metrics;
use crate::trainer::{StepLoss, Train};

/// Computes the metrics of a step of cross-entropy training.
pub(crate) fn step_metrics(train: &Train, state: &State, loss: &StepLoss, grad_norm: f32, mtp_weight: f32) -> Metrics {
    let mut m = Metrics::new(state.step);
    m.push("loss", loss.losses.next_token);
    if loss.losses.mtp != 0.0 {
        m.push("mtp_loss", loss.losses.mtp / mtp_weight as f64);
    }
    if !loss.expert_load.0.is_empty() {
        m.push("balance_loss", loss.losses.balance);
        m.push("moe/max_violation", max_violation(&loss.expert_load.0));
    }
    let traffic = loss.traffic;
    if traffic.tokens > 0 {
        // Per token and layer.
        let per_token = |n: u64| n as f64 / traffic.tokens as f64;
        m.push("moe/ranks_per_token", per_token(traffic.ranks));
        m.push("moe/dispatch_bytes", per_token(traffic.dispatch_bytes));
        m.push("moe/combine_bytes", per_token(traffic.combine_bytes));
        m.push("moe/backward_bytes", per_token(traffic.backward_bytes));
    }
    m.push("entropy", loss.entropy);
    m.push("grad_norm", grad_norm as f64);
    m.push("learning_rate", train.learning_rate_at(state.step - 1) as f64);
    m.push("num_tokens", state.num_tokens as f64);
    m
}

/// MaxVio (arXiv 2408.15664 §4.1): the load of the most loaded expert divided by the mean load, minus one; the maximum
/// over layers.
fn max_violation(expert_load: &[Vec<u32>]) -> f64 {
    let layer = |load: &Vec<u32>| {
        let mean = load.iter().map(|&l| l as f64).sum::<f64>() / load.len().max(1) as f64;
        let max = load.iter().copied().max().unwrap_or(0) as f64;
        if mean > 0.0 { max / mean - 1.0 } else { 0.0 }
    };
    expert_load.iter().map(layer).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violation_is_zero_when_balanced() {
        assert_eq!(max_violation(&[vec![4, 4, 4, 4]]), 0.0);
        assert_eq!(max_violation(&[vec![4, 4, 4, 4], vec![8, 4, 2, 2]]), 1.0);
    }
}
