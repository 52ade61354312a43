//! Group-relative advantages (DeepSeekMath §4.1.2; R1 eq. 3): A_i = (r_i − mean r) / std r over the answers to one
//! question; Dr. GRPO drops the division, Lite-PPO divides by the deviation of the whole batch.

use serde::{Deserialize, Serialize};

/// The divisor of advantages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum ScaleRewards {
    /// The standard deviation of the group (GRPO).
    #[default]
    Group,
    /// The standard deviation of all rewards of the batch.
    Batch,
    /// No division (Dr. GRPO).
    None,
}

/// TRL adds this to the deviation.
const EPS: f32 = 1e-4;

/// Returns mean and sample standard deviation (0 for fewer than two values), summed in order.
pub fn mean_std(values: &[f32]) -> (f32, f32) {
    if values.is_empty() {
        return (0.0, 0.0);
    }
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    if values.len() < 2 {
        return (mean, 0.0);
    }
    let variance = values.iter().map(|r| (r - mean).powi(2)).sum::<f32>() / (values.len() - 1) as f32;
    (mean, variance.sqrt())
}

/// Returns true if all rewards of a group are equal. Every advantage is then exactly 0, so there is nothing to learn.
pub fn zero_variance(group: &[f32]) -> bool {
    group.iter().all(|r| *r == group[0])
}

/// Returns the advantages of `rewards`, which are consecutive groups of `group_size`.
pub fn advantages(rewards: &[f32], group_size: usize, scale: ScaleRewards) -> Vec<f32> {
    let batch_std = mean_std(rewards).1;
    let group = |group: &[f32]| -> Vec<f32> {
        if zero_variance(group) {
            return vec![0.0; group.len()];
        }
        let (mean, std) = mean_std(group);
        let divisor = match scale {
            ScaleRewards::Group => std + EPS,
            ScaleRewards::Batch => batch_std + EPS,
            ScaleRewards::None => 1.0,
        };
        group.iter().map(|r| (r - mean) / divisor).collect()
    };
    rewards.chunks(group_size).flat_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: &[f32], b: &[f32]) {
        assert!(a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4), "{a:?} {b:?}");
    }

    #[test]
    fn a_group_of_four_by_hand() {
        // Rewards 1 0 0 1: mean 1/2, deviations ±1/2, sample variance 4·(1/4)/3 = 1/3, std 0.57735.
        let a = 0.5 / (0.577_350_3 + 1e-4);
        close(&advantages(&[1.0, 0.0, 0.0, 1.0], 4, ScaleRewards::Group), &[a, -a, -a, a]);
        close(&advantages(&[1.0, 0.0, 0.0, 1.0], 4, ScaleRewards::None), &[0.5, -0.5, -0.5, 0.5]);
        // Rewards 2 1 1 0: mean 1, variance (1 + 0 + 0 + 1)/3, std 0.81650.
        let a = 1.0 / (0.816_496_6 + 1e-4);
        close(&advantages(&[2.0, 1.0, 1.0, 0.0], 4, ScaleRewards::Group), &[a, 0.0, 0.0, -a]);
    }

    #[test]
    fn batch_scale_uses_all_rewards() {
        // Batch 1 0 | 1 1: mean 3/4, variance (3·(1/16) + 9/16)/3 = 1/4, std 1/2; the second group has no variance.
        let a = 0.5 / (0.5 + 1e-4);
        close(&advantages(&[1.0, 0.0, 1.0, 1.0], 2, ScaleRewards::Batch), &[a, -a, 0.0, 0.0]);
    }

    #[test]
    fn equal_rewards_teach_nothing_exactly() {
        // 0.1 three times does not sum to 0.3 in floating point. The advantage must be 0 nevertheless.
        assert_eq!(advantages(&[0.1; 3], 3, ScaleRewards::Group), [0.0; 3]);
    }
}
