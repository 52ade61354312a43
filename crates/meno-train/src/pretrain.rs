//! Pretraining: the next token of packed documents, with multi-token prediction and load balancing.
//!
//! V3 §4.2. Differs from the paper: documents do not attend to each other (the paper packs without sample masks), no
//! fill-in-the-middle, no batch-size ramp; λ of MTP and γ of the router bias may end before the run does.

use crate::checkpoint::{self, State};
use crate::data::Documents;
use crate::error::Error;
use crate::limits::{AT_LEAST_ONE, FRACTION, NOT_NEGATIVE, within};
use crate::metrics::Metrics;
use crate::run::{Log, Run, Summary};
use crate::time::{Time, Training};
use crate::trainer::{Sequence, StepLoss, Train, Trainer};
use meno_model::Model;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Settings of pretraining: `[pretrain]` of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pretrain {
    /// Tokens of one optimizer step: whole documents are taken until there are this many.
    pub tokens_per_step: usize,
    /// λ: the weight of the multi-token prediction loss; 0 builds none (V3: 0.3, then 0.1).
    pub mtp_loss_weight: f32,
    /// γ: by how much a router bias moves after each step, against the load (V3: 0.001); 0 for never.
    pub bias_update_speed: f32,
    /// Fraction of the run after which the router biases rest (V3: 14.3 T of 14.8 T tokens).
    pub bias_update_until: f32,
}

impl Default for Pretrain {
    fn default() -> Self {
        Pretrain { tokens_per_step: 8192, mtp_loss_weight: 0.3, bias_update_speed: 0.001, bias_update_until: 0.97 }
    }
}

impl Pretrain {
    /// Refuses values that cannot work.
    pub fn check(&self) -> Result<(), Error> {
        within(AT_LEAST_ONE, &[("pretrain.tokens_per_step", self.tokens_per_step as f64)])?;
        let not_negative = [
            ("pretrain.mtp_loss_weight", self.mtp_loss_weight.into()),
            ("pretrain.bias_update_speed", self.bias_update_speed.into()),
        ];
        within(NOT_NEGATIVE, &not_negative)?;
        within(FRACTION, &[("pretrain.bias_update_until", self.bias_update_until.into())])
    }

    /// Trains `model` on `documents`.
    pub fn run(
        &self,
        train: &Train,
        model: &mut Model,
        documents: &dyn Documents,
        run: &mut Run,
    ) -> Result<Summary, Error> {
        self.check()?;
        let mtp = self.mtp_loss_weight > 0.0 && model.config.num_nextn_predict_layers > 0;
        let mut trainer = Trainer::new(train, model, mtp)?;
        let mut state = State { stage: "pretrain".into(), ..State::default() };
        if let Some((saved, blocks)) = checkpoint::resume(run, model, "pretrain")? {
            trainer.restore(&saved, &blocks)?;
            state = saved;
        }
        let mut log = Log::start(run, state.step)?;
        while state.step < train.max_steps && log.goes_on(run.observer) {
            let (pieces, taken) = self.take(documents, state.position, train.max_tokens)?;
            let sequences: Vec<Sequence> = pieces.iter().map(|tokens| Sequence { tokens, prompt: 1 }).collect();
            let scale = [1.0, self.mtp_loss_weight];
            let Some(loss) = trainer.cross_entropy(model, &sequences, scale, run.observer)? else {
                log.summary.stopped = true;
                break;
            };
            let grad_norm = trainer.update(model, state.step)?;
            if (state.step as f32) < self.bias_update_until * train.max_steps as f32 && self.bias_update_speed > 0.0 {
                model.update_router_bias(&loss.expert_load, self.bias_update_speed)?;
            }
            state.position += taken;
            state.num_tokens += loss.rows as u64;
            state.step += 1;
            let metrics = metrics(train, &state, &loss, grad_norm, scale[1]);
            log.step(metrics, loss.rows, train.max_steps, run.observer)?;
            log.unsaved = !trainer.save(run, model, &state, train.max_steps, Vec::new())?;
        }
        if log.summary.stopped && log.unsaved {
            // What was computed of the next step is given up: nothing of it has reached the weights.
            trainer.save_now(run, model, &state, Vec::new())?;
        }
        log.finish(run, model, train.max_steps)
    }

    /// Measures `model`, which is of no use afterwards, and counts what a run makes of it.
    pub fn time(&self, train: &Train, model: &mut Model, documents: &dyn Documents) -> Result<Time, Error> {
        let start = Instant::now();
        self.check()?;
        let mtp = self.mtp_loss_weight > 0.0 && model.config.num_nextn_predict_layers > 0;
        let (pieces, _) = self.take(documents, 0, train.max_tokens)?;
        let tokens: usize = pieces.iter().map(Vec::len).sum();
        let training = Training::measure(model, train, mtp, tokens / pieces.len().max(1))?;
        let mut time = Time::default();
        let rate = 1.0 / training.token.max(1e-12);
        let what = format!("training: {} steps of about {tokens} tokens, {rate:.0} tokens/s", train.max_steps);
        time.push(what, training.seconds(train.max_steps, (train.max_steps * tokens) as f64));
        time.probe = start.elapsed().as_secs_f64();
        Ok(time)
    }

    /// The pieces of one step, none longer than a pass, and how many documents they are.
    fn take(&self, documents: &dyn Documents, position: u64, max: usize) -> Result<(Vec<Vec<u32>>, u64), Error> {
        let (mut pieces, mut tokens, mut taken) = (Vec::new(), 0, 0);
        while tokens < self.tokens_per_step {
            let document = documents.document(position + taken)?;
            taken += 1;
            tokens += document.len();
            // A piece of one token predicts nothing.
            pieces.extend(document.chunks(max).filter(|p| p.len() > 1).map(<[u32]>::to_vec));
            if taken > 1000 && tokens < taken as usize {
                return Err(Error::Empty("the documents".into()));
            }
        }
        Ok((pieces, taken))
    }
}

/// The figures of a step of cross-entropy training.
pub(crate) fn metrics(train: &Train, state: &State, loss: &StepLoss, grad_norm: f32, mtp_weight: f32) -> Metrics {
    let mut m = Metrics::new(state.step);
    m.push("loss", loss.losses.next_token);
    if loss.losses.mtp != 0.0 {
        m.push("mtp_loss", loss.losses.mtp / mtp_weight as f64);
    }
    if !loss.expert_load.is_empty() {
        m.push("balance_loss", loss.losses.balance);
        m.push("moe/max_violation", max_violation(&loss.expert_load));
    }
    m.push("entropy", loss.entropy);
    m.push("grad_norm", grad_norm as f64);
    m.push("learning_rate", train.learning_rate_at(state.step - 1) as f64);
    m.push("num_tokens", state.num_tokens as f64);
    m
}

/// MaxVio (arXiv 2408.15664 §4.1): the load of the fullest expert over the mean load, less one; the worst layer.
pub fn max_violation(expert_load: &[Vec<u32>]) -> f64 {
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
