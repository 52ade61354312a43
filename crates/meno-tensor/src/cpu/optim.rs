//! The optimizers on host memory: one step turns gradients into new master weights and leaves the gradients zero.

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
    /// Neighbouring parameters with the same rule are one span.
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
        let adam = adamw::Step::new(&self.config, self.steps, learning_rate, scale);
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
                    let step = muon::Step { momentum: self.config.muon_momentum, learning_rate, scale };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend;
    use crate::cpu::Cpu;
    use crate::optim::OptimizerKind;
    use crate::pool;
    use crate::rng::Rng;
    use std::sync::Arc;

    fn weights() -> Box<dyn Weights> {
        let mut p = ParamLayout::default();
        p.declare("model.embed_tokens.weight", &[9, 6]);
        p.declare("norm.weight", &[6]);
        p.declare("a.weight", &[12, 6]);
        p.declare("b.weight", &[5, 7]);
        let frozen = p.declare("mlp.gate.e_score_correction_bias", &[4]);
        p.freeze(frozen);
        let mut weights = Cpu.weights(Arc::new(p)).unwrap();
        let mut rng = Rng::new(&[1]);
        for (p, _) in weights.layout().clone().iter() {
            weights.update(p, &mut |w| w.iter_mut().for_each(|x| *x = rng.normal())).unwrap();
        }
        weights
    }

    /// Gradient of ½ Σ (w − 1)², so that training leads to 1.
    fn grads(weights: &dyn Weights) -> Box<dyn Buffer> {
        let mut grads = Cpu.buffer(weights.layout().total()).unwrap();
        for (p, info) in weights.layout().iter() {
            let w = weights.read(p).unwrap();
            grads.update(info.range(), &mut |g| g.iter_mut().zip(&*w).for_each(|(g, w)| *g = w - 1.0)).unwrap();
        }
        grads
    }

    fn optimizer(config: OptimizerConfig, weights: &dyn Weights) -> Box<dyn Optimizer> {
        Cpu.optimizer(config, weights.layout()).unwrap()
    }

    #[test]
    fn both_descend_and_leave_frozen_parameters_and_no_gradient() {
        for kind in [OptimizerKind::AdamW, OptimizerKind::Muon] {
            let mut w = weights();
            let mut optimizer = optimizer(OptimizerConfig { kind, weight_decay: 0.0, ..Default::default() }, &*w);
            let frozen = w.layout().find("mlp.gate.e_score_correction_bias").unwrap();
            let before = w.read(frozen).unwrap().to_vec();
            let norm = |w: &dyn Weights| Cpu.gradient_norm(w.layout(), &*grads(w)).unwrap();
            let start = norm(&*w);
            for step in 0..400 {
                let mut g = grads(&*w);
                optimizer.step(&mut *w, &mut *g, 0.1 * (1.0 - step as f32 / 400.0), 1.0).unwrap();
                assert!(g.read(0..g.len()).unwrap().iter().all(|&g| g == 0.0));
            }
            assert!(norm(&*w) < 0.05 * start, "{kind:?}: {} of {start}", norm(&*w));
            assert_eq!(*w.read(frozen).unwrap(), before);
        }
    }

    #[test]
    fn restoring_continues_with_the_same_bits_on_any_number_of_threads() {
        for kind in [OptimizerKind::AdamW, OptimizerKind::Muon] {
            let config = OptimizerConfig { kind, ..Default::default() };
            let run = |threads: usize, restore_at: usize| {
                pool::with_threads(threads, || {
                    let mut w = weights();
                    let mut current = optimizer(config, &*w);
                    for step in 0..6 {
                        if step == restore_at {
                            let mut fresh = optimizer(config, &*w);
                            let moments = current.state().map(|(_, m)| m.read(0..m.len()).unwrap());
                            fresh.restore(current.steps(), [&moments[0], &moments[1]]).unwrap();
                            current = fresh;
                        }
                        let mut g = grads(&*w);
                        current.step(&mut *w, &mut *g, 0.02, 0.7).unwrap();
                    }
                    w.read_all().unwrap().into_owned()
                })
            };
            let expected = run(1, 99);
            assert_eq!(expected, run(3, 99));
            assert_eq!(expected, run(1, 3));
        }
    }

    #[test]
    fn state_of_another_network_is_refused() {
        let w = weights();
        let mut optimizer = optimizer(OptimizerConfig::default(), &*w);
        let error = optimizer.restore(1, [&[0.0; 3], &vec![0.0; w.layout().total()]]).unwrap_err();
        assert!(error.to_string().contains("exp_avg"), "{error}");
    }
}
