//! Supervised fine-tuning: cross-entropy on the answer only; packed examples do not attend to each other.
//!
//! R1 §2.3.1 (cold start), §2.3.3 (after rejection sampling) and §2.4 (distillation) use it with different data.

use crate::checkpoint::OwnedBlocks;
use crate::data::{Example, Mixture};
use crate::error::Error;
use crate::evaluation::{Best, Evaluation};
use crate::limits::{AT_LEAST_ONE, NOT_NEGATIVE, refused, within};
use crate::observer::Observer;
use crate::run::{Run, Summary};
use crate::step_metrics::step_metrics;
use crate::time::{Time, Training};
use crate::trainer::{Sequence, Train, Trainer};
use crate::training::{self, MadeStep, Stage, StageState};
use meno_model::Model;
use serde::{Deserialize, Serialize};
use std::time::Instant;

mod conversation;
mod example;
mod forms;
mod messages;
mod read;

pub use example::example;
pub use read::{Account, Dataset, ExampleReader, Named};

/// Settings of supervised fine-tuning: `[sft]` of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sft {
    /// Examples per optimizer step.
    pub train_batch_size: usize,
    /// Number of passes over the data; determines the number of steps. 0 uses `train.max_steps`.
    pub num_train_epochs: f32,
    /// Truncate longer examples to this many tokens, as in TRL. If left out, examples of more than `train.max_tokens`
    /// tokens are skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
    /// λ: the weight of the multi-token prediction loss; 0 builds no such module.
    pub mtp_loss_weight: f32,
    /// γ: how much a router bias changes after each step; 0 disables the updates.
    pub bias_update_speed: f32,
}

impl Default for Sft {
    fn default() -> Self {
        Sft {
            train_batch_size: 32,
            num_train_epochs: 0.0,
            max_length: None,
            mtp_loss_weight: 0.0,
            bias_update_speed: 0.0,
        }
    }
}

/// State of a fine-tuning run besides weights and optimizer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct SftProgress {
    /// The best held-out score so far.
    best: Option<Best>,
}

/// Training examples, and how often each occurs in an epoch.
#[derive(Clone, Debug)]
pub struct Examples<'a> {
    list: &'a [Example],
    mixture: Mixture,
}

impl<'a> From<&'a [Example]> for Examples<'a> {
    fn from(list: &'a [Example]) -> Self {
        Examples { list, mixture: Mixture::new(&[(list.len(), 1.0)]) }
    }
}

impl<'a> From<&'a Vec<Example>> for Examples<'a> {
    fn from(list: &'a Vec<Example>) -> Self {
        list.as_slice().into()
    }
}

impl<'a, const N: usize> From<&'a [Example; N]> for Examples<'a> {
    fn from(list: &'a [Example; N]) -> Self {
        list.as_slice().into()
    }
}

impl<'a> From<&'a Dataset> for Examples<'a> {
    fn from(dataset: &'a Dataset) -> Self {
        Examples { list: &dataset.examples, mixture: dataset.mixture.clone() }
    }
}

impl Sft {
    /// Checks the settings.
    pub fn check(&self) -> Result<(), Error> {
        let counts = [
            ("sft.train_batch_size", self.train_batch_size as f64),
            ("sft.max_length", self.max_length.unwrap_or(1) as f64),
        ];
        within(AT_LEAST_ONE, &counts)?;
        let not_negative = [
            ("sft.num_train_epochs", self.num_train_epochs.into()),
            ("sft.mtp_loss_weight", self.mtp_loss_weight.into()),
            ("sft.bias_update_speed", self.bias_update_speed.into()),
        ];
        within(NOT_NEGATIVE, &not_negative)
    }

    /// Returns the settings with the number of steps for the epochs over `examples` examples.
    pub fn with_epochs(&self, train: &Train, examples: usize) -> Train {
        let mut train = train.clone();
        if self.num_train_epochs > 0.0 {
            let steps = self.num_train_epochs * examples as f32 / self.train_batch_size.max(1) as f32;
            train.max_steps = (steps.ceil() as usize).max(1);
        }
        train
    }

    /// Trains `model` on `examples`.
    pub fn run<'a>(
        &self,
        train: &Train,
        model: &mut Model,
        examples: impl Into<Examples<'a>>,
        run: &mut Run,
    ) -> Result<Summary, Error> {
        let Examples { list, mixture } = examples.into();
        let train = &self.with_epochs(train, mixture.epoch() as usize);
        self.check()?;
        self.check_length(train)?;
        self.check_examples(train, list)?;
        let trainer = Trainer::new(train, model, self.trains_mtp(model), &run.comm)?;
        let training = StageState::new("sft", trainer);
        let mut stage = SftRun { settings: self, train, list, mixture, training, progress: SftProgress::default() };
        training::train(&mut stage, train.max_steps, model, run)
    }

    /// Returns true if the multi-token prediction module is trained.
    fn trains_mtp(&self, model: &Model) -> bool {
        self.mtp_loss_weight > 0.0 && model.config.num_nextn_predict_layers > 0
    }

    /// Measures `model` and extrapolates to the whole run. The probe trains the model, so it must not be used
    /// afterwards.
    pub fn time<'a>(
        &self,
        train: &Train,
        model: &mut Model,
        examples: impl Into<Examples<'a>>,
        evaluation: Option<&Evaluation>,
    ) -> Result<Time, Error> {
        let start = Instant::now();
        let Examples { list, mixture } = examples.into();
        let train = &self.with_epochs(train, mixture.epoch() as usize);
        self.check_examples(train, list)?;
        let measured = match evaluation {
            Some(evaluation) => evaluation.time(model, train.max_steps)?,
            None => None,
        };
        let mtp = self.trains_mtp(model);
        let mean = list.iter().map(|e| e.tokens.len()).sum::<usize>() as f64 / list.len() as f64;
        let training = Training::measure(model, train, mtp, mean as usize)?;
        let mut time = Time::default();
        let (steps, batch, rate) = (train.max_steps, self.train_batch_size, 1.0 / training.token.max(1e-12));
        let what = format!("training: {steps} steps of {batch} examples, {mean:.0} tokens each, {rate:.0} tokens/s");
        time.push(what, training.seconds(steps, (steps * batch) as f64 * mean));
        time.parts.extend(measured);
        let held_out = evaluation.map_or(0, |e| e.tokens_of_examples(steps));
        if held_out > 0 {
            time.push("loss of held-out examples", held_out as f64 * training.token / 3.0);
        }
        time.probe = start.elapsed().as_secs_f64();
        Ok(time)
    }

    /// Fails if the maximum length does not fit a pass.
    pub(crate) fn check_length(&self, train: &Train) -> Result<(), Error> {
        match self.max_length.filter(|max| *max > train.max_tokens) {
            Some(max) => {
                let expected = format!("expected at most `train.max_tokens` = {}", train.max_tokens);
                Err(refused("sft.max_length", max, expected))
            }
            None => Ok(()),
        }
    }

    fn check_examples(&self, train: &Train, examples: &[Example]) -> Result<(), Error> {
        if examples.is_empty() {
            return Err(Error::Empty("the examples".into()));
        }
        let tokens = examples.iter().map(|e| e.tokens.len()).max().unwrap_or(0);
        if tokens > train.max_tokens {
            return Err(Error::TooLong { tokens, max_tokens: train.max_tokens, what: "the examples" });
        }
        Ok(())
    }
}

/// A run in progress.
struct SftRun<'a> {
    settings: &'a Sft,
    train: &'a Train,
    list: &'a [Example],
    mixture: Mixture,
    training: StageState,
    progress: SftProgress,
}

impl Stage for SftRun<'_> {
    fn training(&self) -> &StageState {
        &self.training
    }
    fn training_mut(&mut self) -> &mut StageState {
        &mut self.training
    }
    fn resume(&mut self, _: OwnedBlocks, _: &Run) -> Result<(), Error> {
        self.progress = serde_json::from_value(self.training.state.extra.clone()).unwrap_or_default();
        Ok(())
    }
    fn before_save(&mut self) {
        // A run without evaluation has no state to save.
        if self.progress.best.is_some() {
            self.training.state.extra =
                serde_json::to_value(&self.progress).expect("invariant: the best score is plain data");
        }
    }
    fn best(&mut self) -> Option<&mut Option<Best>> {
        Some(&mut self.progress.best)
    }
    fn held_out_loss(
        &mut self,
        model: &mut Model,
        examples: &[Example],
        observer: &mut dyn Observer,
    ) -> Result<Option<f64>, Error> {
        self.training.trainer.held_out_loss(model, examples, observer)
    }
    fn step(&mut self, model: &mut Model, observer: &mut dyn Observer) -> Result<Option<MadeStep>, Error> {
        let StageState { trainer, state } = &mut self.training;
        let (settings, train, mixture) = (self.settings, self.train, &self.mixture);
        let example = |i: u64| mixture.index(train.seed, state.position + i).and_then(|index| self.list.get(index));
        let batch: Vec<&Example> = (0..settings.train_batch_size as u64).filter_map(example).collect();
        let sequences: Vec<Sequence> =
            batch.iter().map(|e| Sequence { tokens: &e.tokens, prompt: e.prompt.max(1) }).collect();
        let scale = [1.0, settings.mtp_loss_weight];
        let Some(loss) = trainer.cross_entropy(model, &sequences, scale, observer)? else { return Ok(None) };
        let grad_norm = trainer.update(model, state.step)?;
        model.update_router_bias(&loss.expert_load.0, settings.bias_update_speed)?;
        state.position += settings.train_batch_size as u64;
        state.num_tokens += loss.rows as u64;
        state.step += 1;
        let mut metrics = step_metrics(train, state, &loss, grad_norm, scale[1]);
        metrics.push("epoch", state.position as f64 / mixture.epoch() as f64);
        Ok(Some((metrics, loss.rows)))
    }
}
