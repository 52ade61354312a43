//! One optimizer step: forward and backward over packed passes; their gradients are summed, clipped and applied. The
//! step is divided into shards, which the ranks of a run share (`shards.rs`).
//!
//! Losses are normalized over the whole step before the first pass (`Batch::weights`), so packing sequences differently
//! changes only the order of the sum.

use crate::checkpoint::{self, Block, Blocks, Checkpoints, OwnedBlocks, State};
use crate::data::Example;
use crate::error::Error;
use crate::expert_load::ExpertLoad;
use crate::gather;
use crate::observer::Observer;
use crate::packing::best_fit;
use crate::shards::{Shards, Sums};
use crate::train::Train;
use meno_comm::Comm;
use meno_model::{Dtype, Model, TrainOptions};
use meno_tensor::backend::{Buffer, Executor, Optimizer, Pass};
use meno_tensor::optim::clip_scale;
use meno_tensor::tape::{Batch, CrossEntropy, ExpertTraffic, Losses, Objective, Outputs};
use std::borrow::Cow;
use std::path::PathBuf;

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

/// Computes the pass over some sequences of a shard, and adds to the sums of the shard.
type RunPass<'r, S> = dyn FnMut(&mut Trainer, &[usize], &mut S) -> Result<(), Error> + 'r;

/// Computes a pass without gradients, and returns its results.
type ScorePass<'r> = dyn FnMut(&mut Trainer, usize) -> Result<Vec<f64>, Error> + 'r;

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
        run: &mut RunPass<S>,
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
        run: &mut ScorePass,
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
            let mut parts = owned.iter().map(|range| whole.get(range.clone()).unwrap_or_default());
            match owned.len() {
                // The optimizer reports a block of another network.
                _ if whole.len() != self.grads.len() => Cow::Borrowed(whole),
                1 => Cow::Borrowed(parts.next().unwrap_or_default()),
                _ => Cow::Owned(parts.collect::<Vec<_>>().concat()),
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
