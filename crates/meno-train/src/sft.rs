//! Supervised fine-tuning: cross-entropy on the answer only, examples packed without seeing each other.
//!
//! R1 §2.3.1 (cold start), §2.3.3 (after rejection sampling), §2.4 (distillation) are this with different data.

use crate::checkpoint::{self, State, Unfinished};
use crate::data::{Example, Mixture};
use crate::error::Error;
use crate::evaluation::{self, Best, Evaluation, Measured};
use crate::limits::{AT_LEAST_ONE, NOT_NEGATIVE, refused, within};
use crate::metrics::Metrics;
use crate::pretrain::metrics;
use crate::run::{Log, Observer, Run, Summary};
use crate::time::{Time, Training};
use crate::trainer::{Sequence, Train, Trainer};
use meno_engine::Tokenizer;
use meno_model::Model;
use serde::{Deserialize, Serialize};
use std::time::Instant;

mod conversation;
mod forms;
mod messages;
mod read;

pub use read::{Account, Dataset, Named, Reading};

/// Settings of supervised fine-tuning: `[sft]` of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sft {
    /// Examples of one optimizer step.
    pub train_batch_size: usize,
    /// Passes over the data; sets the number of steps. 0 takes `train.max_steps`.
    pub num_train_epochs: f32,
    /// Cut longer examples off after this many tokens, as TRL does. Without it, examples of more than
    /// `train.max_tokens` tokens are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
    /// λ: the weight of the multi-token prediction loss; 0 builds none.
    pub mtp_loss_weight: f32,
    /// γ: by how much a router bias moves after each step; 0 for never.
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

/// What a run of fine-tuning must remember besides weights and optimizer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Progress {
    /// The best held-out score so far.
    best: Option<Best>,
}

/// Examples to train on, and how often each is seen in an epoch.
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
    /// Refuses values that cannot work.
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

    /// The settings with the number of steps that the epochs over `examples` examples make.
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
        evaluation::check(run)?;
        let mtp = self.mtp_loss_weight > 0.0 && model.config.num_nextn_predict_layers > 0;
        let mut trainer = Trainer::new(train, model, mtp)?;
        let mut state = State { stage: "sft".into(), ..State::default() };
        let mut progress = Progress::default();
        if let Some((saved, blocks)) = checkpoint::resume(run, model, "sft")? {
            trainer.restore(&saved, &blocks)?;
            progress = serde_json::from_value(saved.extra.clone()).unwrap_or_default();
            state = saved;
        }
        let mut log = Log::start(run, state.steps_over())?;
        while (state.unfinished.is_some() || state.step < train.max_steps) && log.goes_on(run.observer) {
            let made = match state.unfinished.take() {
                Some(left) => Some(left.of_step(state.step)),
                None => self.step(train, &mut trainer, model, (list, &mixture), &mut state, run.observer)?,
            };
            let Some((mut metrics, rows)) = made else {
                log.summary.stopped = true;
                break;
            };
            let steps = (state.step, train.max_steps);
            let mut loss_of = |model: &mut Model, examples: &[Example], observer: &mut dyn Observer| {
                trainer.held_out_loss(model, examples, observer)
            };
            let measured = evaluation::after_step(run, model, steps, &mut progress.best, &mut metrics, &mut loss_of)?;
            match measured {
                Measured::Stopped => {
                    state.unfinished = Some(Unfinished::new(&metrics, rows));
                    (log.summary.stopped, log.unsaved) = (true, true);
                    break;
                }
                // Without an evaluation a checkpoint is the same as ever.
                Measured::Score(_) => {
                    state.extra = serde_json::to_value(&progress).expect("invariant: the best score is plain data");
                }
                Measured::NotDue => {}
            }
            log.step(metrics, rows, train.max_steps, run.observer)?;
            log.unsaved = !trainer.save(run, model, &state, train.max_steps, Vec::new())?;
        }
        if log.summary.stopped && log.unsaved {
            trainer.save_now(run, model, &state, Vec::new())?;
        }
        if state.steps_over() >= train.max_steps {
            evaluation::finish(run, model)?;
        }
        log.finish(run, model, train.max_steps)
    }

    /// One optimizer step: its figures and the tokens computed. `None` if the observer stopped it, and then nothing has
    /// changed.
    fn step(
        &self,
        train: &Train,
        trainer: &mut Trainer,
        model: &mut Model,
        (list, mixture): (&[Example], &Mixture),
        state: &mut State,
        observer: &mut dyn Observer,
    ) -> Result<Option<(Metrics, usize)>, Error> {
        let place = |i: u64| mixture.index(train.seed, state.position + i).and_then(|index| list.get(index));
        let batch: Vec<&Example> = (0..self.train_batch_size as u64).filter_map(place).collect();
        let sequences: Vec<Sequence> =
            batch.iter().map(|e| Sequence { tokens: &e.tokens, prompt: e.prompt.max(1) }).collect();
        let scale = [1.0, self.mtp_loss_weight];
        let Some(loss) = trainer.cross_entropy(model, &sequences, scale, observer)? else { return Ok(None) };
        let grad_norm = trainer.update(model, state.step)?;
        if self.bias_update_speed > 0.0 {
            model.update_router_bias(&loss.expert_load, self.bias_update_speed)?;
        }
        state.position += self.train_batch_size as u64;
        state.num_tokens += loss.rows as u64;
        state.step += 1;
        let mut metrics = metrics(train, state, &loss, grad_norm, scale[1]);
        metrics.push("epoch", state.position as f64 / mixture.epoch() as f64);
        Ok(Some((metrics, loss.rows)))
    }

    /// Measures `model`, which is of no use afterwards, and counts what a run makes of it.
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
        let mtp = self.mtp_loss_weight > 0.0 && model.config.num_nextn_predict_layers > 0;
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

    /// Refuses a length that no pass has room for.
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

/// A prompt and its answer as tokens. The two are encoded apart, as generation sees them.
pub fn example(tokenizer: &Tokenizer, prompt: &str, completion: &str, add_special: bool) -> Result<Example, Error> {
    let mut tokens = tokenizer.encode(prompt, add_special)?;
    let prompt = tokens.len();
    tokens.extend(tokenizer.encode(completion, false)?);
    if let Some(&eos) = tokenizer.eos().first() {
        // A completion that closes itself is not closed again.
        if tokens.last() != Some(&eos) {
            tokens.push(eos);
        }
    }
    Ok(Example { tokens, prompt })
}
