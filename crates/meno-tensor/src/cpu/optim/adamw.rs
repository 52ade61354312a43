//! AdamW in one pass: moments, weight and gradient are each read and written once.

use crate::cpu::row_kernels::{self, Adam};
use crate::optim::OptimizerConfig;
use crate::pool;

/// One step.
#[derive(Clone, Copy, Debug)]
pub(super) struct AdamwStep {
    learning_rate: f32,
    adam: Adam,
}

/// Values updated by one task.
const BLOCK: usize = 1 << 15;

impl AdamwStep {
    /// AdamwStep number `steps` (from 1).
    pub(super) fn new(config: &OptimizerConfig, steps: u64, learning_rate: f32, scale: f32) -> Self {
        let correction = |beta: f32| 1.0 - (beta as f64).powf(steps as f64);
        let adam = Adam {
            beta1: config.adam_beta1,
            beta2: config.adam_beta2,
            epsilon: config.adam_epsilon,
            scale,
            keep: 1.0,
            rate: (learning_rate as f64 / correction(config.adam_beta1)) as f32,
            root: (1.0 / correction(config.adam_beta2).sqrt()) as f32,
        };
        AdamwStep { learning_rate, adam }
    }

    /// Updates weights `w` with gradients `g`, first moment `m` and second moment `v`; zeroes `g`.
    pub(super) fn apply(&self, weight_decay: f32, w: &mut [f32], g: &mut [f32], m: &mut [f32], v: &mut [f32]) {
        let adam = Adam { keep: 1.0 - self.learning_rate * weight_decay, ..self.adam };
        pool::for_blocks([w, g, m, v], BLOCK, &|_, [w, g, m, v]| row_kernels::adamw(adam, w, g, m, v));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three steps of torch.optim.AdamW(lr=0.1, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1) from w = [1, −2] along
    /// gradients [0.5, −1], [0.1, 0.3], [−0.2, 0], worked out in f64.
    #[test]
    fn equals_the_definition() {
        let config = OptimizerConfig::default();
        let (lr, b1, b2, eps, wd) = (0.1f64, 0.9f64, 0.95f64, 1e-8f64, 0.1f64);
        let (mut w, mut m, mut v) = ([1f32, -2.0], [0f32; 2], [0f32; 2]);
        let (mut ew, mut em, mut ev) = ([1f64, -2.0], [0f64; 2], [0f64; 2]);
        for (t, grads) in [[0.5f32, -1.0], [0.1, 0.3], [-0.2, 0.0]].into_iter().enumerate() {
            // Half of twice the gradient, to test that the scale is used.
            let mut g = grads.map(|g| 2.0 * g);
            AdamwStep::new(&config, t as u64 + 1, 0.1, 0.5).apply(0.1, &mut w, &mut g, &mut m, &mut v);
            for i in 0..2 {
                let g = grads[i] as f64;
                ew[i] *= 1.0 - lr * wd;
                em[i] = b1 * em[i] + (1.0 - b1) * g;
                ev[i] = b2 * ev[i] + (1.0 - b2) * g * g;
                let (mh, vh) = (em[i] / (1.0 - b1.powi(t as i32 + 1)), ev[i] / (1.0 - b2.powi(t as i32 + 1)));
                ew[i] -= lr * mh / (vh.sqrt() + eps);
                assert!((w[i] as f64 - ew[i]).abs() < 1e-6, "step {t}: {} {}", w[i], ew[i]);
            }
        }
    }
}
