//! Optimizers over the flat layout of [`Params`]: one step turns gradients into new master weights and leaves the
//! gradients zero.
//!
//! AdamW (Loshchilov & Hutter, arXiv 1711.05101) is what DeepSeek-V3 and R1 train with. Muon (Moonlight, arXiv
//! 2502.16982, §2.2) is an option: it takes the matrices and leaves embeddings, head and vectors to AdamW.

pub mod adamw;
pub mod clip;
pub mod muon;

use crate::buffer::Buffer;
use crate::params::{ParamInfo, Params};
use muon::Muon;
use std::ops::Range;

/// Which optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Kind {
    /// AdamW everywhere.
    #[default]
    AdamW,
    /// Muon for matrices, AdamW for embeddings, head and vectors.
    Muon,
}

/// What an optimizer is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimizerConfig {
    /// Which one.
    pub kind: Kind,
    /// AdamW's decay of the first moment.
    pub adam_beta1: f32,
    /// AdamW's decay of the second moment.
    pub adam_beta2: f32,
    /// AdamW's epsilon, added to the root of the second moment.
    pub adam_epsilon: f32,
    /// Decoupled weight decay, a step: w −= lr · weight_decay · w. Parameters of one dimension are not decayed.
    pub weight_decay: f32,
    /// Muon's momentum.
    pub muon_momentum: f32,
}

impl Default for OptimizerConfig {
    /// DeepSeek-V3 §4.2: β₁ = 0.9, β₂ = 0.95, weight decay 0.1. Moonlight: momentum 0.95.
    fn default() -> Self {
        OptimizerConfig {
            kind: Kind::AdamW,
            adam_beta1: 0.9,
            adam_beta2: 0.95,
            adam_epsilon: 1e-8,
            weight_decay: 0.1,
            muon_momentum: 0.95,
        }
    }
}

/// How one span of the flat layout is updated.
#[derive(Clone, Debug, PartialEq)]
enum Rule {
    /// Not at all.
    Frozen,
    AdamW {
        weight_decay: f32,
    },
    Muon {
        rows: usize,
        cols: usize,
    },
}

/// An optimizer and its state.
pub struct Optimizer {
    config: OptimizerConfig,
    spans: Vec<(Range<usize>, Rule)>,
    steps: u64,
    /// AdamW's first moment, Muon's momentum.
    first: Buffer,
    /// AdamW's second moment.
    second: Buffer,
    muon: Muon,
}

/// The state of a checkpoint does not fit the network.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("optimizer state '{name}' has {got} values, the network needs {expected}: it belongs to another network")]
pub struct StateError {
    name: &'static str,
    got: usize,
    expected: usize,
}

impl Optimizer {
    /// A fresh optimizer of the trainable parameters of `params`.
    pub fn new(config: OptimizerConfig, params: &Params) -> Self {
        let mut spans: Vec<(Range<usize>, Rule)> = Vec::new();
        let mut muon = Muon::default();
        for (_, info) in params.iter() {
            let rule = rule(&config, info);
            if let Rule::Muon { rows, cols } = rule {
                muon.reserve(rows, cols);
            }
            match spans.last_mut() {
                // Padding between parameters has neither values nor gradients.
                Some((span, last)) if *last == rule && !matches!(rule, Rule::Muon { .. }) => {
                    span.end = info.range().end;
                }
                _ => spans.push((info.range(), rule)),
            }
        }
        let (first, second) = (Buffer::zeroed(params.total()), Buffer::zeroed(params.total()));
        Optimizer { config, spans, steps: 0, first, second, muon }
    }

    /// How many steps were taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// What it is made of.
    pub fn config(&self) -> &OptimizerConfig {
        &self.config
    }

    /// Takes one step of rate `learning_rate` along `scale · grads` (`scale` from [`clip::clip_scale`]), and zeroes
    /// `grads`.
    pub fn step(&mut self, params: &mut Params, grads: &mut [f32], learning_rate: f32, scale: f32) {
        self.steps += 1;
        let adam = adamw::Step::new(&self.config, self.steps, learning_rate, scale);
        let data = params.data_mut();
        for (span, rule) in &self.spans {
            let (w, g) = (&mut data[span.clone()], &mut grads[span.clone()]);
            let first = &mut self.first[span.clone()];
            match *rule {
                Rule::Frozen => g.fill(0.0),
                Rule::AdamW { weight_decay } => adam.apply(weight_decay, w, g, first, &mut self.second[span.clone()]),
                Rule::Muon { rows, cols } => {
                    let step = muon::Step { momentum: self.config.muon_momentum, learning_rate, scale };
                    self.muon.apply(step, self.config.weight_decay, [rows, cols], w, g, first);
                }
            }
        }
    }

    /// The state to checkpoint, by name, in the layout of [`Params::data`]; with [`Optimizer::steps`] it is all.
    pub fn state(&self) -> [(&'static str, &[f32]); 2] {
        [("exp_avg", &self.first), ("exp_avg_sq", &self.second)]
    }

    /// Continues from a checkpointed state.
    ///
    /// # Errors
    /// If a length is not that of the network.
    pub fn restore(&mut self, steps: u64, exp_avg: &[f32], exp_avg_sq: &[f32]) -> Result<(), StateError> {
        for (name, state, own) in [("exp_avg", exp_avg, &mut self.first), ("exp_avg_sq", exp_avg_sq, &mut self.second)]
        {
            if state.len() != own.len() {
                return Err(StateError { name, got: state.len(), expected: own.len() });
            }
            own.copy_from_slice(state);
        }
        self.steps = steps;
        Ok(())
    }
}

fn rule(config: &OptimizerConfig, info: &ParamInfo) -> Rule {
    let matrix = info.shape.len() >= 2;
    let embedding = ["embed_tokens.weight", "lm_head.weight"].iter().any(|name| info.name.ends_with(name));
    match config.kind {
        _ if !info.trainable => Rule::Frozen,
        Kind::Muon if matrix && !embedding => {
            let cols = info.shape[info.shape.len() - 1];
            Rule::Muon { rows: info.len() / cols.max(1), cols }
        }
        _ => Rule::AdamW { weight_decay: if matrix { config.weight_decay } else { 0.0 } },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool;
    use crate::rng::Rng;

    fn params() -> Params {
        let mut p = Params::default();
        p.declare("model.embed_tokens.weight", &[9, 6]);
        p.declare("norm.weight", &[6]);
        p.declare("a.weight", &[12, 6]);
        p.declare("b.weight", &[5, 7]);
        let frozen = p.declare("mlp.gate.e_score_correction_bias", &[4]);
        p.freeze(frozen);
        p.allocate();
        let mut rng = Rng::new(&[1]);
        let handles: Vec<_> = p.iter().map(|(h, _)| h).collect();
        handles.iter().for_each(|&h| p.get_mut(h).iter_mut().for_each(|x| *x = rng.normal()));
        p
    }

    /// Gradient of ½ Σ (w − 1)², so that training leads to 1.
    fn grads(params: &Params) -> Vec<f32> {
        let mut grads = vec![0.0; params.total()];
        for (p, info) in params.iter() {
            grads[info.range()].iter_mut().zip(params.get(p)).for_each(|(g, w)| *g = w - 1.0);
        }
        grads
    }

    #[test]
    fn both_descend_and_leave_frozen_parameters_and_no_gradient() {
        for kind in [Kind::AdamW, Kind::Muon] {
            let mut p = params();
            let mut optimizer = Optimizer::new(OptimizerConfig { kind, weight_decay: 0.0, ..Default::default() }, &p);
            let frozen = p.find("mlp.gate.e_score_correction_bias").unwrap();
            let before = p.get(frozen).to_vec();
            let norm = |p: &Params| clip::global_norm(p, &grads(p));
            let start = norm(&p);
            for step in 0..400 {
                let mut g = grads(&p);
                optimizer.step(&mut p, &mut g, 0.1 * (1.0 - step as f32 / 400.0), 1.0);
                assert!(g.iter().all(|&g| g == 0.0));
            }
            assert!(norm(&p) < 0.05 * start, "{kind:?}: {} of {start}", norm(&p));
            assert_eq!(p.get(frozen), before);
        }
    }

    #[test]
    fn restoring_continues_with_the_same_bits_on_any_number_of_threads() {
        for kind in [Kind::AdamW, Kind::Muon] {
            let config = OptimizerConfig { kind, ..Default::default() };
            let run = |threads: usize, restore_at: usize| {
                pool::with_threads(threads, || {
                    let mut p = params();
                    let mut optimizer = Optimizer::new(config, &p);
                    for step in 0..6 {
                        if step == restore_at {
                            let mut fresh = Optimizer::new(config, &p);
                            let [(_, first), (_, second)] = optimizer.state();
                            fresh.restore(optimizer.steps(), first, second).unwrap();
                            optimizer = fresh;
                        }
                        let mut g = grads(&p);
                        optimizer.step(&mut p, &mut g, 0.02, 0.7);
                    }
                    p.data().to_vec()
                })
            };
            let expected = run(1, 99);
            assert_eq!(expected, run(3, 99));
            assert_eq!(expected, run(1, 3));
        }
    }

    #[test]
    fn state_of_another_network_is_refused() {
        let p = params();
        let mut optimizer = Optimizer::new(OptimizerConfig::default(), &p);
        let error = optimizer.restore(1, &[0.0; 3], &vec![0.0; p.total()]).unwrap_err();
        assert!(error.to_string().contains("exp_avg"), "{error}");
    }
}
