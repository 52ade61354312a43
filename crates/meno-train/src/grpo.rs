//! Group relative policy optimization (DeepSeekMath §4.1; R1 §2.2): sample a group of answers to each question, verify
//! them, and train on each answer in proportion to its reward relative to its group.
//!
//! R1-Zero: 32 questions × 16 answers, ε 10, β 0.001 to a reference that is updated every 400 steps, learning rate
//! 3e-6; 8,192 answers per rollout, trained on in 16 mini-batches. Answers are sampled by the weights that train, with
//! the same kernels. So the ratio of the first update is exactly 1; the log-probability gate checks this for every
//! token trained on.

pub mod advantages;
pub mod health;
mod make_rewards;
mod mini_batch;
pub mod objective;
mod pass;
mod ranges;
mod reward_funcs;
mod settings;
mod time;
mod update;

#[cfg(test)]
mod agreement_tests;

pub use reward_funcs::RewardFunc;
pub use settings::Grpo;

use crate::checkpoint::{self, Block, Blocks, OwnedBlocks};
use crate::data::{Questions, Verdict};
use crate::error::Error;
use crate::evaluation::{Best, Measured};
use crate::metrics::Metrics;
use crate::observer::Observer;
use crate::rewards::{self, Weighted};
use crate::rollout::{Rollout, RolloutConfig, generator, rollout};
use crate::run::{Run, Summary};
use crate::trainer::{Train, Trainer};
use crate::training::{self, MadeStep, Stage, StageState};
use advantages::{advantages, mean_std, zero_variance};
use health::{Figures, Monitor};
use meno_comm::Comm;
use meno_engine::Generator;
use meno_model::{Model, contract};
use meno_tensor::backend::Buffer;
use meno_tensor::device::Device;
use serde::{Deserialize, Serialize};

/// Tokens of the batch in which the numerics contract is checked, at most.
const CONTRACT_ROWS: usize = 4096;

/// State of a GRPO run besides weights and optimizer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct GrpoProgress {
    /// Number of rollouts started.
    generations: u64,
    /// Updates made with the current rollout.
    used: usize,
    /// The log-probability gap of each mini-batch of the current rollout, measured before its first update.
    gaps: Vec<f32>,
    /// The current rollout, while it is being trained on.
    rollouts: Vec<Rollout>,
    /// The best held-out score so far.
    best: Option<Best>,
    /// The figures of the latest rollouts, and the warnings issued.
    monitor: Monitor,
    /// The figures of the rollout of a step that was stopped during its evaluation.
    #[serde(skip_serializing_if = "Option::is_none")]
    figures: Option<Figures>,
}

/// A run in progress.
struct GrpoRun<'a> {
    grpo: &'a Grpo,
    train: &'a Train,
    task: &'a dyn Questions,
    rewards: &'a [Weighted],
    generator: Generator,
    config: RolloutConfig,
    /// The weights of the reference policy; none if β is 0.
    reference: Option<Box<dyn Buffer>>,
    training: StageState,
    progress: GrpoProgress,
}

impl Grpo {
    /// Trains `model` on `task`. `rewards` are those of the settings ([`Grpo::rewards`]) or any others.
    pub fn run(
        &self,
        train: &Train,
        model: &mut Model,
        task: &dyn Questions,
        rewards: &[Weighted],
        run: &mut Run,
    ) -> Result<Summary, Error> {
        self.check(train, rewards)?;
        check_contract(model, train, run.observer)?;
        let mut stage = GrpoRun::new(self, train, model, task, rewards, &run.comm)?;
        training::train(&mut stage, train.max_steps, model, run)
    }
}

/// Checks on a GPU that tokens have the same bits when they are sampled and when they are trained on, for this network.
/// Otherwise prints a note: training still works, but is not exactly on-policy.
fn check_contract(model: &mut Model, train: &Train, observer: &mut dyn Observer) -> Result<(), Error> {
    let device = model.backend().device();
    if !matches!(device, Device::Cuda(_)) {
        return Ok(()); // the tests show it for every CPU
    }
    let comparisons = contract::check(model, train.precision, train.max_tokens.min(CONTRACT_ROWS))?;
    let broken: Vec<&str> = comparisons.iter().filter(|c| !c.equal).map(|c| c.with).collect();
    if !broken.is_empty() {
        let when = broken.join(", ");
        observer.on_note(&format!(
            "{device} does not keep the numerics contract for this network: log-probabilities have other bits when \
             {when}. Training is not exactly on-policy, and sampling/logprob_gap is not 0"
        ));
    }
    Ok(())
}

impl Stage for GrpoRun<'_> {
    fn training(&self) -> &StageState {
        &self.training
    }
    fn training_mut(&mut self) -> &mut StageState {
        &mut self.training
    }
    fn resume(&mut self, mut blocks: OwnedBlocks, run: &Run) -> Result<(), Error> {
        let path = run.checkpoints.as_ref().map(|c| c.dir.clone()).unwrap_or_default();
        if let Some(reference) = &mut self.reference {
            let block = blocks.remove("ref_model").unwrap_or_default();
            checkpoint::set_buffer(&path, "ref_model", &block, &mut **reference)?;
        }
        let progress = serde_json::from_value(self.training.state.extra.clone());
        self.progress = progress.map_err(|e| Error::Checkpoint {
            path,
            message: format!("the rollouts of its training state cannot be read: {e}"),
        })?;
        Ok(())
    }
    fn before_save(&mut self) {
        self.training.state.extra = serde_json::to_value(&self.progress).expect("invariant: rollouts are plain data");
    }
    fn blocks(&self) -> Blocks<'_> {
        self.reference.iter().map(|reference| Block::whole("ref_model", &**reference)).collect()
    }
    fn best(&mut self) -> Option<&mut Option<Best>> {
        Some(&mut self.progress.best)
    }
    /// Performs one update; samples a new rollout first if the last one is used up.
    fn step(&mut self, model: &mut Model, observer: &mut dyn Observer) -> Result<Option<MadeStep>, Error> {
        let position = self.training.state.position;
        let before = (position, self.progress.generations, self.progress.used, self.progress.gaps.clone());
        let mut metrics = Metrics::new(self.training.state.step + 1);
        let mut figures = None;
        let rows = self.sample_and_update(model, &mut metrics, &mut figures, observer)?;
        let Some(rows) = rows else {
            if self.progress.rollouts.is_empty() || figures.is_some() {
                self.progress.rollouts.clear();
                (self.training.state.position, self.progress.generations, self.progress.used, self.progress.gaps) =
                    before;
            }
            return Ok(None);
        };
        self.progress.figures = figures;
        self.progress.used += 1;
        if self.progress.used == self.grpo.steps_per_generation * self.grpo.num_iterations {
            self.progress.rollouts.clear();
        }
        let state = &mut self.training.state;
        state.step += 1;
        state.num_tokens += rows as u64;
        metrics.push("num_tokens", state.num_tokens as f64);
        let due = self.grpo.sync_ref_model && state.step.is_multiple_of(self.grpo.ref_model_sync_steps);
        if let Some(reference) = self.reference.as_mut().filter(|_| due) {
            reference.mix(&*model.weights, self.grpo.ref_model_mixup_alpha)?;
        }
        Ok(Some((metrics, rows)))
    }
    /// Warns of signs that the run learns nothing.
    fn after_step(&mut self, measured: &Measured, rows: usize, metrics: &mut Metrics, observer: &mut dyn Observer) {
        let entropy = metrics.get("entropy").filter(|_| rows > 0).map(|e| e as f32);
        let monitor = &mut self.progress.monitor;
        if let Some(figures) = self.progress.figures.take() {
            monitor.rollout(Figures { entropy, ..figures });
        }
        if let Measured::Score(score) = measured {
            monitor.measure(self.training.state.step, *score);
        }
        for warning in monitor.warnings() {
            metrics.warnings.push(warning.to_string());
            observer.on_note(&format!("warning: {warning}"));
        }
    }
    fn tokens(&self, metrics: &Metrics, rows: usize) -> usize {
        // A step without sampling has no such metric.
        rows.max(metrics.get("completions/total_length").unwrap_or(0.0) as usize)
    }
}

impl<'a> GrpoRun<'a> {
    fn new(
        grpo: &'a Grpo,
        train: &'a Train,
        model: &Model,
        task: &'a dyn Questions,
        rewards: &'a [Weighted],
        comm: &Comm,
    ) -> Result<Self, Error> {
        let training = StageState::new("grpo", Trainer::new(train, model, false, comm)?);
        let config = RolloutConfig { comm: comm.clone(), ..grpo.rollout_config(train, task.stop_tokens()) };
        let generator = generator(model, &config, grpo.max_prompt_length)?;
        let mut reference = None;
        if grpo.beta > 0.0 {
            let mut copy = model.backend().buffer(model.layout().total())?;
            model.weights.snapshot(&mut *copy)?;
            reference = Some(copy);
        }
        let progress = GrpoProgress::default();
        Ok(GrpoRun { grpo, train, task, rewards, generator, config, reference, training, progress })
    }

    /// Samples if needed, then updates. Returns the number of rows computed; `None` if the observer stopped it.
    fn sample_and_update(
        &mut self,
        model: &mut Model,
        metrics: &mut Metrics,
        figures: &mut Option<Figures>,
        observer: &mut dyn Observer,
    ) -> Result<Option<usize>, Error> {
        if self.progress.rollouts.is_empty() {
            let Some((rollouts, sampled)) = self.sample(model, metrics, observer)? else { return Ok(None) };
            self.progress.rollouts = rollouts;
            *figures = Some(sampled);
            self.progress.used = 0;
        }
        self.update(model, metrics, observer)
    }

    /// Samples, verifies and rewards the answers of one rollout. Returns the answers to train on, and the figures of
    /// all answers.
    fn sample(
        &mut self,
        model: &mut Model,
        metrics: &mut Metrics,
        observer: &mut dyn Observer,
    ) -> Result<Option<(Vec<Rollout>, Figures)>, Error> {
        let g = self.grpo.num_generations;
        self.config.key = [self.train.seed, self.progress.generations];
        self.progress.generations += 1;
        let (mut kept, mut all) = (Vec::new(), Vec::new());
        let mut rounds = 0;
        loop {
            let wanted = self.grpo.num_questions - kept.len() / g;
            let first = all.len() as u64 / g as u64;
            let questions = (0..wanted as u64).map(|i| self.task.question(self.training.state.position + i));
            let questions = questions.collect::<Result<Vec<_>, _>>()?;
            self.grpo.check_prompts(&questions, self.train)?;
            rewards::check(self.rewards, &questions)?;
            self.training.state.position += wanted as u64;
            let sampled = rollout(
                model,
                &mut self.generator,
                &self.config,
                self.task,
                self.rewards,
                (first, questions),
                observer,
            )?;
            let Some(sampled) = sampled else { return Ok(None) };
            for group in sampled.chunks(g) {
                let rewards: Vec<f32> = group.iter().map(|r| r.reward).collect();
                if !self.grpo.dynamic_sampling || !zero_variance(&rewards) {
                    kept.extend_from_slice(group);
                }
            }
            all.extend(sampled);
            rounds += 1;
            if kept.len() == self.grpo.num_questions * g || rounds > self.grpo.max_resample_rounds {
                break;
            }
        }
        if self.grpo.dynamic_sampling {
            metrics.push("dynamic_sampling/rounds", rounds as f64);
        }
        rollout_metrics(&all, g, self.rewards, metrics);
        let figures = Figures::of(metrics.step, &all, g);
        metrics.push("completions/repetitive", figures.repetitive as f64 / figures.answers.max(1) as f64);
        if kept.is_empty() {
            kept = all; // all groups have equal rewards: there is nothing to learn, but the gate is still measured
        }
        let rewards: Vec<f32> = kept.iter().map(|r| r.reward).collect();
        let advantages = advantages(&rewards, g, self.grpo.scale_rewards);
        kept.iter_mut().zip(advantages).for_each(|(r, a)| r.advantage = a);
        observer.on_rollouts(&kept);
        if self.reference.is_some() && !self.score_reference(model, &mut kept, observer)? {
            return Ok(None);
        }
        Ok(Some((kept, figures)))
    }
}

/// Adds the metrics of a rollout, under TRL's names.
fn rollout_metrics(rollouts: &[Rollout], group_size: usize, rewards: &[Weighted], m: &mut Metrics) {
    let n = rollouts.len().max(1) as f64;
    let lens: Vec<f64> = rollouts.iter().map(|r| r.tokens.len() as f64).collect();
    let ended: Vec<f64> = rollouts.iter().filter(|r| !r.truncated).map(|r| r.tokens.len() as f64).collect();
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len().max(1) as f64;
    let all: Vec<f32> = rollouts.iter().map(|r| r.reward).collect();
    let groups = all.chunks(group_size);
    let (count, zero) = (groups.len().max(1) as f64, groups.clone().filter(|g| zero_variance(g)).count());
    m.push("reward", mean_std(&all).0 as f64);
    m.push("reward_std", groups.map(|g| mean_std(g).1 as f64).sum::<f64>() / count);
    m.push("frac_reward_zero_std", zero as f64 / count);
    for (i, reward) in rewards.iter().enumerate() {
        let scores: Vec<f32> = rollouts.iter().map(|r| r.scores[i]).collect();
        let (mean, std) = mean_std(&scores);
        m.push(format!("rewards/{}/mean", reward.reward.name()), mean as f64);
        m.push(format!("rewards/{}/std", reward.reward.name()), std as f64);
    }
    m.push("completions/mean_length", mean(&lens));
    m.push("completions/min_length", lens.iter().copied().reduce(f64::min).unwrap_or(0.0));
    m.push("completions/max_length", lens.iter().copied().reduce(f64::max).unwrap_or(0.0));
    m.push("completions/total_length", lens.iter().sum());
    m.push("completions/clipped_ratio", rollouts.iter().filter(|r| r.truncated).count() as f64 / n);
    m.push("completions/mean_terminated_length", mean(&ended));
    for (name, verdict) in [
        ("right", Verdict::Right),
        ("wrong", Verdict::Wrong),
        ("truncated", Verdict::Truncated),
        ("unparsable", Verdict::Unparsable),
    ] {
        m.push(format!("verdicts/{name}"), rollouts.iter().filter(|r| r.verdict == verdict).count() as f64 / n);
    }
    let unverified = rollouts.iter().filter(|r| r.verdict == Verdict::Unverified).count();
    if unverified > 0 {
        m.push("verdicts/unverified", unverified as f64 / n);
    }
}
