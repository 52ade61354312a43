//! The optimizers in host memory. One step converts gradients to new master weights and zeroes the gradients.

mod adamw;
mod muon;
pub(super) mod norm;

use super::host_buffer::HostBuffer;
use super::weights::CpuWeights;
use crate::backend::{Buffer, Error, Optimizer, Weights, own_mut};
use crate::optim::{OptimizerConfig, OwnedPiece, UpdateRule, owned_len, owned_pieces};
use crate::tape::ParamLayout;
use muon::Muon;
use std::ops::Range;

/// An optimizer and its state.
pub(super) struct CpuOptimizer {
    config: OptimizerConfig,
    /// Adjacent pieces with the same rule form one.
    pieces: Vec<OwnedPiece>,
    /// The values of the layout that belong to no piece.
    others: Vec<Range<usize>>,
    steps: u64,
    /// AdamW's first moment, Muon's momentum.
    first: HostBuffer,
    /// AdamW's second moment.
    second: HostBuffer,
    muon: Muon,
}

impl CpuOptimizer {
    pub(super) fn new(config: OptimizerConfig, layout: &ParamLayout, owned: &[Range<usize>]) -> Result<Self, Error> {
        let mut pieces: Vec<OwnedPiece> = Vec::new();
        let mut muon = Muon::default();
        for piece in owned_pieces(&config, layout, owned) {
            if let UpdateRule::Muon { rows, cols } = piece.rule {
                muon.reserve(rows, cols);
            }
            match pieces.last_mut() {
                // Padding between parameters has neither values nor gradients.
                Some(last) if joins(last, &piece) => last.place.end = piece.place.end,
                _ => pieces.push(piece),
            }
        }
        let ends = pieces.iter().map(|p| p.place.end);
        let starts = pieces.iter().map(|p| p.place.start).chain([layout.total()]);
        let others = std::iter::once(0).chain(ends).zip(starts).map(|(end, start)| end..start).collect();
        let moment = || HostBuffer::new(owned_len(owned), "the optimizer's state");
        Ok(CpuOptimizer { config, pieces, others, steps: 0, first: moment()?, second: moment()?, muon })
    }
}

/// Returns true if two pieces are updated as one.
fn joins(last: &OwnedPiece, next: &OwnedPiece) -> bool {
    let distance = |piece: &OwnedPiece| piece.place.start - piece.state;
    last.rule == next.rule && !matches!(last.rule, UpdateRule::Muon { .. }) && distance(last) == distance(next)
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
        for OwnedPiece { place, state, rule } in &self.pieces {
            let (w, g) = (&mut data[place.clone()], &mut grads[place.clone()]);
            let state = *state..state + place.len();
            let first = &mut self.first[state.clone()];
            match *rule {
                UpdateRule::Frozen => g.fill(0.0),
                UpdateRule::AdamW { weight_decay } => {
                    adam.apply(weight_decay, w, g, first, &mut self.second[state]);
                }
                UpdateRule::Muon { rows, cols } => {
                    let step = muon::MuonStep { momentum: self.config.muon_momentum, learning_rate, scale };
                    self.muon.apply(step, self.config.weight_decay, [rows, cols], w, g, first);
                }
            }
        }
        self.others.iter().for_each(|other| grads[other.clone()].fill(0.0));
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
