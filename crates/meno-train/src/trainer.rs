//! One optimizer step: forward and backward over packed passes; their gradients are summed, clipped and applied. The
//! step is divided into shards, which the ranks of a run share ([`crate::shards`]).
//!
//! Losses are normalized over the whole step before the first pass (`Batch::weights`), so packing sequences differently
//! changes only the order of the sum.

use crate::checkpoint::{self, Block, Blocks, Checkpoints, OwnedBlocks, State};
use crate::data::Example;
use crate::error::Error;
use crate::expert_load::ExpertLoad;
use crate::gather;
use crate::limits::{AT_LEAST_ONE, BELOW_ONE, FRACTION, NOT_NEGATIVE, POSITIVE, refused, within};
use crate::lr_schedule::{LrSchedule, LrSchedulerType};
use crate::observer::Observer;
use crate::packing::best_fit;
pub use crate::shards::Reduce;
use crate::shards::{Shards, Sums};
use meno_comm::Comm;
use meno_model::{Dtype, Model, TrainOptions};
use meno_tensor::backend::{Buffer, Executor, Optimizer, Pass};
use meno_tensor::optim::{OptimizerConfig, OptimizerKind, clip_scale};
use meno_tensor::precision::Precision;
use meno_tensor::tape::{Batch, CrossEntropy, ExpertTraffic, Losses, Objective, Outputs};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::path::PathBuf;

/// Settings common to all stages: `[train]` of a recipe. Names are those of Hugging Face's `TrainingArguments`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Train {
    /// Optimizer steps.
    pub max_steps: usize,
    /// Peak learning rate.
    pub learning_rate: f32,
    /// Shape of the learning rate: constant, linear, cosine, v3 or wsd.
    pub lr_scheduler_type: LrSchedulerType,
    /// Optimizer steps of linear warm-up.
    pub warmup_steps: usize,
    /// Final learning rate, as a fraction of the peak.
    pub min_lr_rate: f32,
    /// Fraction of the run at which the decay begins (v3, wsd).
    pub decay_start: f32,
    /// Fraction of the run at which the decay ends (v3).
    pub decay_end: f32,
    /// adamw or muon.
    pub optim: Optim,
    /// β1 of AdamW.
    pub adam_beta1: f32,
    /// β2 of AdamW.
    pub adam_beta2: f32,
    /// ε of AdamW.
    pub adam_epsilon: f32,
    /// Decoupled weight decay of matrices, per step: w −= rate · decay · w.
    pub weight_decay: f32,
    /// Momentum of Muon.
    pub muon_momentum: f32,
    /// Gradient norm above which gradients are scaled down; 0 disables clipping.
    pub max_grad_norm: f32,
    /// Maximum tokens per pass over the network; limits the memory of activations. Every sequence must fit.
    pub max_tokens: usize,
    /// Recompute every block's activations in the backward pass instead of storing them.
    pub gradient_checkpointing: bool,
    /// Input type of the linear layers' GEMMs: f32 or bf16. Accumulation and master weights are f32.
    pub precision: Precision,
    /// Shards of an optimizer step, a power of two: their gradients are added in a fixed tree, so a run has the same
    /// bits for any number of processes that divides it.
    pub gradient_shards: usize,
    /// How gradients of several processes are added: ordered (same bits for any number of processes) or fast.
    pub reduce: Reduce,
    /// Deal the experts of every layer out to the processes (pretrain and sft): each holds and computes its own.
    pub expert_parallel: bool,
    /// Seed of all random numbers: order of the data, sampling.
    pub seed: u64,
}

/// An optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Optim {
    /// AdamW everywhere.
    #[default]
    Adamw,
    /// Muon on the matrices of hidden layers, AdamW on embeddings, head and gains (Moonlight §2).
    Muon,
}

impl Default for Train {
    fn default() -> Self {
        Train {
            max_steps: 1000,
            learning_rate: 3e-4,
            lr_scheduler_type: LrSchedulerType::Cosine,
            warmup_steps: 0,
            min_lr_rate: 0.1,
            decay_start: 0.8,
            decay_end: 1.0,
            optim: Optim::Adamw,
            adam_beta1: 0.9,
            adam_beta2: 0.95,
            adam_epsilon: 1e-8,
            weight_decay: 0.1,
            muon_momentum: 0.95,
            max_grad_norm: 1.0,
            max_tokens: 2048,
            gradient_checkpointing: false,
            precision: Precision::F32,
            gradient_shards: 1,
            reduce: Reduce::Ordered,
            expert_parallel: false,
            seed: 0,
        }
    }
}

impl Train {
    /// Returns the learning rate of optimizer step `step`, counted from 0.
    pub fn learning_rate_at(&self, step: usize) -> f32 {
        let schedule = LrSchedule {
            kind: self.lr_scheduler_type,
            warmup_steps: self.warmup_steps,
            max_steps: self.max_steps,
            min_lr_rate: self.min_lr_rate,
            decay_start: self.decay_start,
            decay_end: self.decay_end,
        };
        self.learning_rate * schedule.factor(step)
    }

    /// Returns the optimizer that these settings describe.
    pub fn optimizer(&self) -> OptimizerConfig {
        OptimizerConfig {
            kind: match self.optim {
                Optim::Adamw => OptimizerKind::AdamW,
                Optim::Muon => OptimizerKind::Muon,
            },
            adam_beta1: self.adam_beta1,
            adam_beta2: self.adam_beta2,
            adam_epsilon: self.adam_epsilon,
            weight_decay: self.weight_decay,
            muon_momentum: self.muon_momentum,
        }
    }

    /// Checks the settings.
    pub fn check(&self) -> Result<(), Error> {
        within(AT_LEAST_ONE, &[("train.max_steps", self.max_steps as f64)])?;
        let not_negative = [
            ("train.learning_rate", self.learning_rate),
            ("train.weight_decay", self.weight_decay),
            ("train.max_grad_norm", self.max_grad_norm),
        ];
        within(NOT_NEGATIVE, &not_negative.map(|(key, v)| (key, v.into())))?;
        let fractions = [
            ("train.min_lr_rate", self.min_lr_rate),
            ("train.decay_start", self.decay_start),
            ("train.decay_end", self.decay_end),
        ];
        within(FRACTION, &fractions.map(|(key, v)| (key, v.into())))?;
        let momenta = [
            ("train.adam_beta1", self.adam_beta1),
            ("train.adam_beta2", self.adam_beta2),
            ("train.muon_momentum", self.muon_momentum),
        ];
        within(BELOW_ONE, &momenta.map(|(key, v)| (key, v.into())))?;
        within(POSITIVE, &[("train.adam_epsilon", self.adam_epsilon.into())])?;
        within(AT_LEAST_ONE, &[("train.max_tokens", self.max_tokens as f64)])?;
        if self.decay_start > self.decay_end {
            let expected = format!("expected at most `train.decay_end` = {}", self.decay_end);
            return Err(refused("train.decay_start", self.decay_start, expected));
        }
        Ok(())
    }
}

/// Gradients, optimizer and executor of one model.
pub struct Trainer {
    train: Train,
    executor: Box<dyn Executor>,
    grads: Box<dyn Buffer>,
    optimizer: Box<dyn Optimizer>,
    shards: Shards,
}

/// Bytes of a [`Trainer`] by purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrainerMemory {
    /// Gradients, with the partial sums of shards.
    pub gradients: usize,
    /// State of the optimizer.
    pub optimizer: usize,
    /// Activations of a pass, with their gradients.
    pub activations: usize,
}

impl Trainer {
    /// Plans the memory for `model` on one of the ranks `comm`; `mtp` adds the multi-token prediction loss.
    pub fn new(train: &Train, model: &Model, mtp: bool, comm: &Comm) -> Result<Self, Error> {
        train.check()?;
        let shards = Shards::new(train, model, comm)?;
        let options = TrainOptions { recompute: train.gradient_checkpointing, mtp };
        let mut executor = model.train_executor(train.max_tokens, options)?;
        if shards.deals_experts() {
            executor.deal_experts(comm.clone())?;
        }
        let backend = model.backend();
        let grads = backend.buffer(model.layout().total())?;
        let optimizer = backend.optimizer(train.optimizer(), model.layout(), shards.owned())?;
        Ok(Trainer { train: train.clone(), executor, grads, optimizer, shards })
    }

    /// Returns the bytes by purpose.
    pub fn memory(&self) -> TrainerMemory {
        TrainerMemory {
            gradients: self.grads.len() * 4 + self.shards.bytes(),
            optimizer: self.optimizer.state().iter().map(|(_, s)| s.len() * 4).sum(),
            activations: self.executor.planned_bytes(self.train.precision),
        }
    }

    /// Runs forward and backward over one pass; gradients accumulate until [`Trainer::update`].
    pub fn pass(&mut self, model: &mut Model, batch: &Batch, objective: &dyn Objective) -> Result<&Outputs, Error> {
        let pass = Pass::new(self.train.precision, batch).with_objective(objective);
        Ok(self.executor.step(&mut *model.weights, pass, &mut *self.grads)?)
    }

    /// Runs forward only, with the training executor.
    pub fn score(&mut self, model: &mut Model, batch: &Batch, objective: &dyn Objective) -> Result<&Outputs, Error> {
        let pass = Pass::new(self.train.precision, batch).with_objective(objective);
        Ok(self.executor.forward(&mut *model.weights, pass, None)?)
    }

    /// Ends optimizer step `step` (counted from 0): adds the gradients of all ranks, clips, updates the weights, clears
    /// the gradients. Returns the norm of the gradient before clipping.
    pub fn update(&mut self, model: &mut Model, step: usize) -> Result<f32, Error> {
        self.shards.sum_gradients(&mut *self.grads)?;
        let norm = self.shards.gradient_norm(model.layout(), &*self.grads)?;
        if !(norm as f32).is_finite() {
            return Err(Error::NotFinite { step: step + 1, what: "the gradient norm", value: norm as f32 });
        }
        let scale = clip_scale(norm, self.train.max_grad_norm);
        let learning_rate = self.train.learning_rate_at(step);
        self.optimizer.step(&mut *model.weights, &mut *self.grads, learning_rate, scale)?;
        self.shards.spread_weights(model)?;
        Ok(norm as f32)
    }

    /// Computes the shards of this rank, whose sequences have lengths `lens`, and returns the sums of all shards. `run`
    /// computes the pass over some of the sequences. `None` if the observer stopped it.
    pub(crate) fn compute_shards<S: Sums>(
        &mut self,
        lens: &[usize],
        observer: &mut dyn Observer,
        run: &mut dyn FnMut(&mut Trainer, &[usize], &mut S) -> Result<(), Error>,
    ) -> Result<Option<S>, Error> {
        let pack = |shard: &Vec<usize>| pack(shard, lens, self.train.max_tokens);
        let packed: Vec<Vec<Vec<usize>>> = self.shards.deal(lens).iter().map(pack).collect();
        let own = self.shards.own();
        let (mut done, total) = (0, own.clone().map(|shard| self.shards.passes(&packed, shard)).sum());
        observer.on_progress("passes", 0, total);
        let alone = self.shards.comm().size() == 1;
        let mut sums = Vec::new();
        self.shards.begin();
        for shard in own {
            let mut sum = S::default();
            for pass in 0..self.shards.passes(&packed, shard) {
                run(self, packed[shard].get(pass).map_or(&[], Vec::as_slice), &mut sum)?;
                done += 1;
                observer.on_progress("passes", done, total);
                if alone && observer.should_stop() {
                    return Ok(None);
                }
            }
            sums.push(sum);
            self.shards.complete(&mut self.grads)?;
            if !alone && self.shards.should_stop(observer) {
                return Ok(None);
            }
        }
        Ok(Some(self.shards.merge(sums)))
    }

    /// Computes the mean cross-entropy of all predicted tokens of `sequences`, forward and backward; `head_scale` as in
    /// [`CrossEntropy`]. `None` if the observer stopped it.
    pub(crate) fn cross_entropy(
        &mut self,
        model: &mut Model,
        sequences: &[Sequence],
        head_scale: [f32; 2],
        observer: &mut dyn Observer,
    ) -> Result<Option<StepLoss>, Error> {
        sequences.iter().try_for_each(|s| model.check_tokens(s.tokens))?;
        let lens: Vec<usize> = sequences.iter().map(|s| s.tokens.len()).collect();
        let targets: usize = sequences.iter().map(|s| s.tokens.len().saturating_sub(s.prompt)).sum();
        let weight = 1.0 / targets.max(1) as f32;
        let mut batch = Batch::default();
        let mut run = |trainer: &mut Trainer, members: &[usize], sums: &mut StepLoss| {
            batch.clear();
            for &s in members {
                let Sequence { tokens, prompt } = sequences[s];
                batch.push_training(tokens, |at| if at >= prompt { weight } else { 0.0 });
            }
            let out = trainer.pass(model, &batch, &CrossEntropy { head_scale })?;
            sums.add(out, &batch);
            Ok(())
        };
        let Some(mut total) = self.compute_shards(&lens, observer, &mut run)? else { return Ok(None) };
        total.entropy /= targets.max(1) as f64;
        let loss = total.losses.total() as f32;
        if !loss.is_finite() {
            let step = self.optimizer.steps() as usize + 1;
            return Err(Error::NotFinite { step, what: "the loss", value: loss });
        }
        Ok(Some(total))
    }

    /// Computes the mean cross-entropy of the answers' tokens of `examples`, forward only; the state of the training
    /// does not change. `None` if the observer stopped it.
    pub(crate) fn held_out_loss(
        &mut self,
        model: &mut Model,
        examples: &[Example],
        observer: &mut dyn Observer,
    ) -> Result<Option<f64>, Error> {
        examples.iter().try_for_each(|e| model.check_tokens(&e.tokens))?;
        let lens: Vec<usize> = examples.iter().map(|e| e.tokens.len()).collect();
        let mut passes = best_fit(&lens, self.train.max_tokens);
        if self.shards.deals_experts() {
            // All ranks compute the same number of passes.
            passes.resize(passes.len().next_multiple_of(self.shards.comm().size()), Vec::new());
        }
        let mut batch = Batch::default();
        let losses = self.each_rank(passes.len(), "held-out examples", observer, &mut |trainer, pass| {
            batch.clear();
            let answer = |s: &usize| examples[*s].tokens.len().saturating_sub(examples[*s].prompt.max(1));
            let targets: usize = passes[pass].iter().map(answer).sum();
            let weight = 1.0 / targets.max(1) as f32;
            for &s in &passes[pass] {
                let (list, prompt) = (&examples[s].tokens, examples[s].prompt.max(1));
                batch.push_training(list, |at| if at >= prompt { weight } else { 0.0 });
            }
            let out = trainer.score(model, &batch, &CrossEntropy { head_scale: [1.0, 0.0] })?;
            Ok(vec![out.losses.next_token, targets as f64])
        })?;
        let Some(losses) = losses else { return Ok(None) };
        let sum: f64 = losses.iter().map(|pass| pass[0] * pass[1]).sum();
        let tokens: f64 = losses.iter().map(|pass| pass[1]).sum();
        Ok(Some(sum / tokens.max(1.0)))
    }

    /// Deals `passes` passes without gradients to the ranks, and returns the results of all of them in order. `None` if
    /// the observer stopped it.
    pub(crate) fn each_rank(
        &mut self,
        passes: usize,
        what: &str,
        observer: &mut dyn Observer,
        run: &mut dyn FnMut(&mut Trainer, usize) -> Result<Vec<f64>, Error>,
    ) -> Result<Option<Vec<Vec<f64>>>, Error> {
        let (rank, size) = (self.shards.comm().rank(), self.shards.comm().size());
        let own: Vec<usize> = (rank..passes).step_by(size).collect();
        observer.on_progress(what, 0, own.len());
        let (mut results, mut stopped) = (Vec::new(), false);
        for (done, pass) in own.iter().enumerate() {
            results.push((*pass, run(self, *pass)?));
            observer.on_progress(what, done + 1, own.len());
            stopped |= observer.should_stop();
            // With experts on other ranks, each pass needs all ranks.
            if stopped && !self.shards.deals_experts() {
                break;
            }
        }
        if self.shards.comm().any(stopped) {
            return Ok(None);
        }
        Ok(Some(gather::rows(self.shards.comm(), results).into_iter().map(|(_, result)| result).collect()))
    }

    /// Restores the optimizer from a checkpoint.
    pub(crate) fn restore(&mut self, state: &State, blocks: &OwnedBlocks) -> Result<(), Error> {
        let owned = self.shards.owned();
        let block = |name: &str| {
            let whole = blocks.get(name).map_or(&[][..], Vec::as_slice);
            // A block of another network is too short, which the optimizer reports.
            let parts = owned.iter().map(|range| whole.get(range.clone()).unwrap_or_default());
            if *owned == [0..whole.len()] {
                Cow::Borrowed(whole)
            } else {
                Cow::Owned(parts.collect::<Vec<_>>().concat())
            }
        };
        let [first, second] = ["exp_avg", "exp_avg_sq"].map(block);
        self.optimizer
            .restore(state.optimizer_steps, [&first, &second])
            .map_err(|e| Error::Checkpoint { path: "training_state.safetensors".into(), message: e.to_string() })
    }

    /// Saves a checkpoint of `state.step` with the optimizer and the blocks `more`. Returns its path.
    pub(crate) fn save<'a>(
        &'a self,
        to: &Checkpoints,
        model: &'a Model,
        state: &State,
        more: Blocks<'a>,
    ) -> Result<PathBuf, Error> {
        let (len, owned) = (self.grads.len(), self.shards.owned());
        let moments = self.optimizer.state().map(|(name, moment)| Block::part(name, len, moment, owned));
        let mut blocks = Blocks::from(moments);
        blocks.extend(more);
        if to.dtype != Dtype::F32 {
            blocks.push(Block::weights(&*model.weights, owned));
        }
        let state = &State { optimizer_steps: self.optimizer.steps(), ..state.clone() };
        checkpoint::save(to, model, state, blocks)
    }
}

/// Tokens to train on; those from `prompt` on have a loss.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sequence<'a> {
    pub(crate) tokens: &'a [u32],
    pub(crate) prompt: usize,
}

/// The sums over the passes of a step.
#[derive(Clone, Debug, Default)]
pub(crate) struct StepLoss {
    pub(crate) losses: Losses,
    /// Entropy of the predictions: first the sum, then the mean.
    pub(crate) entropy: f64,
    pub(crate) expert_load: ExpertLoad,
    /// What was exchanged with experts on other ranks.
    pub(crate) traffic: ExpertTraffic,
    pub(crate) rows: usize,
}

impl Sums for StepLoss {
    fn to_numbers(&self) -> Vec<f64> {
        let Losses { next_token, mtp, balance } = self.losses;
        let ExpertTraffic { tokens, ranks, dispatch_bytes, combine_bytes, backward_bytes } = self.traffic;
        let traffic = [tokens, ranks, dispatch_bytes, combine_bytes, backward_bytes];
        let mut row = vec![next_token, mtp, balance, self.entropy, self.rows as f64];
        row.extend(traffic.map(|n| n as f64));
        self.expert_load.write(&mut row);
        row
    }
    fn from_numbers(numbers: Vec<f64>) -> StepLoss {
        let mut row = numbers.into_iter();
        let mut next = || row.next().unwrap_or_default();
        let losses = Losses { next_token: next(), mtp: next(), balance: next() };
        let (entropy, rows) = (next(), next() as usize);
        let [tokens, ranks, dispatch_bytes, combine_bytes, backward_bytes] = [(); 5].map(|()| next() as u64);
        let traffic = ExpertTraffic { tokens, ranks, dispatch_bytes, combine_bytes, backward_bytes };
        StepLoss { losses, entropy, rows, traffic, expert_load: ExpertLoad::read(&mut row) }
    }
    fn merge(&mut self, next: StepLoss) {
        self.losses += next.losses;
        self.entropy += next.entropy;
        self.rows += next.rows;
        self.traffic += next.traffic;
        self.expert_load.add(&next.expert_load.0);
    }
}

/// Packs some of the sequences into passes.
fn pack(sequences: &[usize], lens: &[usize], max_tokens: usize) -> Vec<Vec<usize>> {
    let lens: Vec<usize> = sequences.iter().map(|&s| lens[s]).collect();
    let whole = |pass: Vec<usize>| pass.iter().map(|&member| sequences[member]).collect();
    best_fit(&lens, max_tokens).into_iter().map(whole).collect()
}

impl StepLoss {
    pub(crate) fn add(&mut self, out: &Outputs, batch: &Batch) {
        self.losses += out.losses;
        let rows = batch.weights.iter().zip(&out.entropies).filter(|(w, _)| **w > 0.0);
        self.entropy += rows.map(|(_, e)| *e as f64).sum::<f64>();
        self.rows += batch.len();
        self.traffic += out.expert_traffic;
        self.expert_load.add(&out.expert_load);
    }
}
