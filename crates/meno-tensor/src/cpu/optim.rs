//! The optimizers in host memory. One step converts gradients to new master weights and zeroes the gradients.

mod adamw;
mod muon;
pub(super) mod norm;

use super::host_buffer::HostBuffer;
use super::weights::CpuWeights;
use crate::backend::{Buffer, Error, Optimizer, Weights, own_mut};
use crate::optim::{OptimizerConfig, UpdateRule};
use crate::tape::ParamLayout;
use muon::Muon;
use std::ops::Range;

/// An optimizer and its state.
pub(super) struct CpuOptimizer {
    config: OptimizerConfig,
    /// Adjacent parameters with the same rule form one span.
    spans: Vec<(Range<usize>, UpdateRule)>,
    steps: u64,
    /// AdamW's first moment, Muon's momentum.
    first: HostBuffer,
    /// AdamW's second moment.
    second: HostBuffer,
    muon: Muon,
}

impl CpuOptimizer {
    pub(super) fn new(config: OptimizerConfig, layout: &ParamLayout) -> Result<Self, Error> {
        let mut spans: Vec<(Range<usize>, UpdateRule)> = Vec::new();
        let mut muon = Muon::default();
        for (_, info) in layout.iter() {
            let rule = UpdateRule::of(&config, info);
            if let UpdateRule::Muon { rows, cols } = rule {
                muon.reserve(rows, cols);
            }
            match spans.last_mut() {
                // Padding between parameters has neither values nor gradients.
                Some((span, last)) if *last == rule && !matches!(rule, UpdateRule::Muon { .. }) => {
                    span.end = info.range().end;
                }
                _ => spans.push((info.range(), rule)),
            }
        }
        let moment = || HostBuffer::new(layout.total(), "the optimizer's state");
        Ok(CpuOptimizer { config, spans, steps: 0, first: moment()?, second: moment()?, muon })
    }
}

impl Optimizer for CpuOptimizer {
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
        let adam = adamw::AdamwStep::new(&self.config, self.steps, learning_rate, scale);
        let (data, grads) = (own_mut::<CpuWeights>(weights).data_mut(), own_mut::<HostBuffer>(grads));
        for (span, rule) in &self.spans {
            let (w, g) = (&mut data[span.clone()], &mut grads[span.clone()]);
            let first = &mut self.first[span.clone()];
            match *rule {
                UpdateRule::Frozen => g.fill(0.0),
                UpdateRule::AdamW { weight_decay } => {
                    adam.apply(weight_decay, w, g, first, &mut self.second[span.clone()]);
                }
                UpdateRule::Muon { rows, cols } => {
                    let step = muon::MuonStep { momentum: self.config.muon_momentum, learning_rate, scale };
                    self.muon.apply(step, self.config.weight_decay, [rows, cols], w, g, first);
                }
            }
        }
        Ok(())
    }
    fn state(&self) -> [(&'static str, &dyn Buffer); 2] {
        [("exp_avg", &self.first), ("exp_avg_sq", &self.second)]
    }
    fn restore(&mut self, steps: u64, moments: [&[f32]; 2]) -> Result<(), Error> {
        let own = [("exp_avg", &mut self.first), ("exp_avg_sq", &mut self.second)];
        for ((name, own), state) in own.into_iter().zip(moments) {
            if state.len() != own.len() {
                return Err(Error::OptimizerState { name, got: state.len(), expected: own.len() });
            }
            own.copy_from_slice(state);
        }
        self.steps = steps;
        Ok(())
    }
}
