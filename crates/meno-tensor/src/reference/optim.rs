//! The optimizers and the gradient norm, computed in f64 and stored in f32.

mod muon;
mod update;

use super::buffer::Block;
use super::weights::ReferenceWeights;
use crate::backend::{Buffer, Error, Optimizer, Weights, own_mut};
use crate::optim::{CUT, OptimizerConfig, OwnedPiece, UpdateRule, norm_blocks, owned_len, owned_pieces};
use crate::tape::ParamLayout;
use std::ops::Range;
use update::Update;

/// Returns Σ g² over every block of the trainable parameters in `range`.
pub(super) fn gradient_squares(layout: &ParamLayout, grads: &[f32], range: Range<usize>) -> Vec<f64> {
    norm_blocks(layout, range, CUT).map(|block| grads[block].iter().map(|&g| (g as f64).powi(2)).sum()).collect()
}

/// An optimizer and its state.
pub(super) struct ReferenceOptimizer {
    config: OptimizerConfig,
    pieces: Vec<OwnedPiece>,
    steps: u64,
    /// AdamW's first moment, Muon's momentum.
    first: Block,
    /// AdamW's second moment.
    second: Block,
}

impl ReferenceOptimizer {
    pub(super) fn new(config: OptimizerConfig, layout: &ParamLayout, owned: &[Range<usize>]) -> Result<Self, Error> {
        let pieces = owned_pieces(&config, layout, owned);
        let moment = || Block::new(owned_len(owned), "the optimizer's state");
        Ok(ReferenceOptimizer { config, pieces, steps: 0, first: moment()?, second: moment()? })
    }
}

/// AdamW (arXiv 1711.05101, algorithm 2): m and v are the decayed means of g and g², corrected for their start at 0; w
/// ← (1 − lr·λ) w − lr · m̂ / (√v̂ + ε).
fn adamw(config: &OptimizerConfig, steps: u64, weight_decay: f32, update: Update) {
    let Update { weights, grads, first, second, learning_rate, scale } = update;
    let (beta1, beta2) = (config.adam_beta1 as f64, config.adam_beta2 as f64);
    let (bias1, bias2) = (1.0 - beta1.powf(steps as f64), 1.0 - beta2.powf(steps as f64));
    for (i, w) in weights.iter_mut().enumerate() {
        let g = grads[i] as f64 * scale;
        let m = beta1 * first[i] as f64 + (1.0 - beta1) * g;
        let v = beta2 * second[i] as f64 + (1.0 - beta2) * g * g;
        let step = m / bias1 / ((v / bias2).sqrt() + config.adam_epsilon as f64);
        *w = (*w as f64 * (1.0 - learning_rate * weight_decay as f64) - learning_rate * step) as f32;
        (first[i], second[i]) = (m as f32, v as f32);
    }
}

impl Optimizer for ReferenceOptimizer {
    fn config(&self) -> &OptimizerConfig {
        &self.config
    }
    fn steps(&self) -> u64 {
        self.steps
    }
    fn step(
        &mut self,
        weights: &mut dyn Weights,
        grads: &mut dyn Buffer,
        learning_rate: f32,
        scale: f32,
    ) -> Result<(), Error> {
        self.steps += 1;
        let (data, grads) = (own_mut::<ReferenceWeights>(weights).all_mut(), &mut own_mut::<Block>(grads).values);
        for OwnedPiece { place, state, rule } in &self.pieces {
            let state = *state..state + place.len();
            let update = Update {
                weights: &mut data[place.clone()],
                grads: &grads[place.clone()],
                first: &mut self.first.values[state.clone()],
                second: &mut self.second.values[state],
                learning_rate: learning_rate as f64,
                scale: scale as f64,
            };
            match *rule {
                UpdateRule::Frozen => {}
                UpdateRule::AdamW { weight_decay } => adamw(&self.config, self.steps, weight_decay, update),
                UpdateRule::Muon { rows, cols } => muon::apply(&self.config, rows, cols, update),
            }
        }
        grads.fill(0.0);
        Ok(())
    }
    fn state(&self) -> [(&'static str, &dyn Buffer); 2] {
        [("exp_avg", &self.first), ("exp_avg_sq", &self.second)]
    }
    fn restore(&mut self, steps: u64, moments: [&[f32]; 2]) -> Result<(), Error> {
        let own = [("exp_avg", &mut self.first), ("exp_avg_sq", &mut self.second)];
        for ((name, own), state) in own.into_iter().zip(moments) {
            if state.len() != own.values.len() {
                return Err(Error::OptimizerState { name, got: state.len(), expected: own.values.len() });
            }
            own.values.copy_from_slice(state);
        }
        self.steps = steps;
        Ok(())
    }
}
