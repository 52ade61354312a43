//! Pretraining: next-token prediction on packed documents, with multi-token prediction and load balancing.
//!
//! V3 §4.2. Differences from the paper: documents do not attend to each other (the paper packs without sample masks);
//! there is no fill-in-the-middle and no batch-size ramp; γ of the router bias may be switched
//! off before the end of the run.

use crate::data::Documents;
use crate::error::Error;
use crate::limits::{AT_LEAST_ONE, FRACTION, NOT_NEGATIVE, within};
use crate::observer::Observer;
use crate::run::{Run, Summary};
use crate::step_metrics::step_metrics;
use crate::time::{Time, Training};
use crate::trainer::{Sequence, Train, Trainer};
use crate::training::{self, MadeStep, Stage, StageState};
use meno_model::Model;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Settings of pretraining: `[pretrain]` of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pretrain {
    /// Tokens per optimizer step: whole documents are added until this number is reached.
    pub tokens_per_step: usize,
    /// λ: the weight of the multi-token prediction loss; 0 builds no such module (V3: 0.3, then 0.1).
    pub mtp_loss_weight: f32,
    /// γ: how much a router bias moves against the load after each step (V3: 0.001); 0 disables the updates.
    pub bias_update_speed: f32,
    /// Fraction of the run after which the router biases stay fixed (V3: 14.3 T of 14.8 T tokens).
    pub bias_update_until: f32,
}

impl Default for Pretrain {
    fn default() -> Self {
        Pretrain { tokens_per_step: 8192, mtp_loss_weight: 0.3, bias_update_speed: 0.001, bias_update_until: 0.97 }
    }
}

impl Pretrain {
    /// Checks the settings.
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
        let trainer = Trainer::new(train, model, self.trains_mtp(model), &run.comm)?;
        let mut stage =
            PretrainRun { settings: self, train, documents, training: StageState::new("pretrain", trainer) };
        training::train(&mut stage, train.max_steps, model, run)
    }

    /// Returns true if the multi-token prediction module is trained.
    fn trains_mtp(&self, model: &Model) -> bool {
        self.mtp_loss_weight > 0.0 && model.config.num_nextn_predict_layers > 0
    }

    /// Measures `model` and extrapolates to the whole run. The probe trains the model, so it must not be used
    /// afterwards.
    pub fn time(&self, train: &Train, model: &mut Model, documents: &dyn Documents) -> Result<Time, Error> {
        let start = Instant::now();
        self.check()?;
        let mtp = self.trains_mtp(model);
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

    /// Returns the pieces of one step, none longer than a pass, and the number of documents in them.
    fn take(&self, documents: &dyn Documents, position: u64, max: usize) -> Result<(Vec<Vec<u32>>, u64), Error> {
        let (mut pieces, mut tokens, mut taken) = (Vec::new(), 0, 0);
        while tokens < self.tokens_per_step {
            let document = documents.document(position + taken)?;
            taken += 1;
            tokens += document.len();
            // A piece of one token has no target.
            pieces.extend(document.chunks(max).filter(|p| p.len() > 1).map(<[u32]>::to_vec));
            if taken > 1000 && tokens < taken as usize {
                return Err(Error::Empty("the documents".into()));
            }
        }
        Ok((pieces, taken))
    }
}

/// A run in progress.
struct PretrainRun<'a> {
    settings: &'a Pretrain,
    train: &'a Train,
    documents: &'a dyn Documents,
    training: StageState,
}

impl Stage for PretrainRun<'_> {
    fn training(&self) -> &StageState {
        &self.training
    }
    fn training_mut(&mut self) -> &mut StageState {
        &mut self.training
    }
    fn step(&mut self, model: &mut Model, observer: &mut dyn Observer) -> Result<Option<MadeStep>, Error> {
        let StageState { trainer, state } = &mut self.training;
        let (settings, train) = (self.settings, self.train);
        let (pieces, taken) = settings.take(self.documents, state.position, train.max_tokens)?;
        let sequences: Vec<Sequence> = pieces.iter().map(|tokens| Sequence { tokens, prompt: 1 }).collect();
        let scale = [1.0, settings.mtp_loss_weight];
        let Some(loss) = trainer.cross_entropy(model, &sequences, scale, observer)? else { return Ok(None) };
        let grad_norm = trainer.update(model, state.step)?;
        if (state.step as f32) < settings.bias_update_until * train.max_steps as f32 {
            model.update_router_bias(&loss.expert_load.0, settings.bias_update_speed)?;
        }
        state.position += taken;
        state.num_tokens += loss.rows as u64;
        state.step += 1;
        Ok(Some((step_metrics(train, state, &loss, grad_norm, scale[1]), loss.rows)))
    }
}
