//! Optimizers: their settings, and gradient clipping. Backends implement the steps ([`crate::backend::Optimizer`]).
//!
//! DeepSeek-V3 and R1 train with AdamW (Loshchilov & Hutter, arXiv 1711.05101). Muon (Moonlight, arXiv 2502.16982,
//! §2.2) is an option: it updates the matrices; AdamW then updates embeddings, head and vectors.

use crate::tape::ParamInfo;

/// The kind of optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OptimizerKind {
    /// AdamW everywhere.
    #[default]
    AdamW,
    /// Muon for matrices, AdamW for embeddings, head and vectors.
    Muon,
}

/// The settings of an optimizer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimizerConfig {
    /// The kind of optimizer.
    pub kind: OptimizerKind,
    /// AdamW's decay of the first moment.
    pub adam_beta1: f32,
    /// AdamW's decay of the second moment.
    pub adam_beta2: f32,
    /// AdamW's epsilon, added to the root of the second moment.
    pub adam_epsilon: f32,
    /// Decoupled weight decay per step: w −= lr · weight_decay · w. One-dimensional parameters are not decayed.
    pub weight_decay: f32,
    /// Muon's momentum.
    pub muon_momentum: f32,
}

impl Default for OptimizerConfig {
    /// DeepSeek-V3 §4.2: β₁ = 0.9, β₂ = 0.95, weight decay 0.1. Moonlight: momentum 0.95.
    fn default() -> Self {
        OptimizerConfig {
            kind: OptimizerKind::AdamW,
            adam_beta1: 0.9,
            adam_beta2: 0.95,
            adam_epsilon: 1e-8,
            weight_decay: 0.1,
            muon_momentum: 0.95,
        }
    }
}

/// The update rule of one parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum UpdateRule {
    /// The parameter is not updated.
    Frozen,
    /// AdamW.
    AdamW {
        /// The weight decay.
        weight_decay: f32,
    },
    /// Muon.
    Muon {
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        cols: usize,
    },
}

impl UpdateRule {
    /// Returns the rule for a parameter.
    pub fn of(config: &OptimizerConfig, info: &ParamInfo) -> UpdateRule {
        let matrix = info.shape.len() >= 2;
        let embedding = ["embed_tokens.weight", "lm_head.weight"].iter().any(|name| info.name.ends_with(name));
        match config.kind {
            _ if !info.trainable => UpdateRule::Frozen,
            OptimizerKind::Muon if matrix && !embedding => {
                let [rows, cols] = info.matrix_shape();
                UpdateRule::Muon { rows, cols }
            }
            _ => UpdateRule::AdamW { weight_decay: if matrix { config.weight_decay } else { 0.0 } },
        }
    }
}

/// Returns the factor that reduces gradients of norm `norm` to `max_norm`; 1 below it, and for `max_norm` ≤ 0 (off). A
/// norm that is not finite gives 0: the step then consists of weight decay and momentum only.
pub fn clip_scale(norm: f64, max_norm: f32) -> f32 {
    if !norm.is_finite() {
        0.0
    } else if max_norm > 0.0 && norm > max_norm as f64 {
        (max_norm as f64 / norm) as f32
    } else {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clips_above_the_limit_only() {
        assert_eq!(clip_scale(0.5, 1.0), 1.0);
        assert_eq!(clip_scale(4.0, 1.0), 0.25);
        assert_eq!(clip_scale(4.0, 0.0), 1.0);
        assert_eq!(clip_scale(f64::NAN, 1.0), 0.0);
    }
}
