//! What surrounds a run: who watches it, where its checkpoints go, when it ends.

use crate::checkpoint::{self, Checkpoints};
use crate::error::Error;
use crate::evaluation::Evaluation;
use crate::metrics::{Metrics, MetricsFile};
use crate::rollout::Rollout;
use crate::tensorboard::EventFile;
use meno_model::Model;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Watches a run and may stop it.
pub trait Observer {
    /// A step was made; `max_steps` are wanted.
    fn on_step(&mut self, _metrics: &Metrics, _max_steps: usize) {}
    /// Something within a step progressed: `done` of `total` of `what` (tokens sampled, passes).
    fn on_progress(&mut self, _what: &str, _done: usize, _total: usize) {}
    /// Reports the tokens sampled and the seconds passed since the current rollout began.
    fn on_sampled(&mut self, _tokens: usize, _seconds: f64) {}
    /// The responses of the latest rollout, scored.
    fn on_rollouts(&mut self, _rollouts: &[Rollout]) {}
    /// Something a person should read: a warning, what a reward's program says.
    fn on_note(&mut self, _line: &str) {}
    /// A checkpoint was written.
    fn on_checkpoint(&mut self, _path: &std::path::Path) {}
    /// Whether the run should end now; asked often. The step in hand is given up, all steps before it are saved.
    fn should_stop(&mut self) -> bool {
        false
    }
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Observer for Quiet {}

/// When a run ends, beside its number of steps.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Budget {
    /// Wall seconds after which no further step begins. A run that ends by time is not reproducible.
    pub seconds: Option<f64>,
}

/// What surrounds a run.
pub struct Run<'a> {
    /// Who watches.
    pub observer: &'a mut dyn Observer,
    /// Where and when to save, and whether to resume.
    pub checkpoints: Option<Checkpoints>,
    /// `metrics.jsonl`, if wanted; TensorBoard's event files stand beside it.
    pub metrics: Option<PathBuf>,
    /// When it ends.
    pub budget: Budget,
    /// Held-out questions to measure, if wanted.
    pub evaluation: Option<Evaluation<'a>>,
}

impl<'a> Run<'a> {
    /// A run that `observer` watches, without files.
    pub fn new(observer: &'a mut dyn Observer) -> Self {
        Run { observer, checkpoints: None, metrics: None, budget: Budget::default(), evaluation: None }
    }
}

/// How a run went.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Optimizer steps made, those before a resumption included.
    pub steps: usize,
    /// Whether the observer ended it early.
    pub stopped: bool,
    /// Wall seconds.
    pub seconds: f64,
    /// The figures of every step of this process.
    pub history: Vec<Metrics>,
}

impl Summary {
    /// The last value of a figure.
    pub fn last(&self, name: &str) -> Option<f64> {
        self.history.iter().rev().find_map(|m| m.get(name))
    }
    /// The largest value of a figure.
    pub fn max(&self, name: &str) -> Option<f64> {
        self.history.iter().filter_map(|m| m.get(name)).reduce(f64::max)
    }
}

/// The clock and the log of a run in progress.
pub(crate) struct Log {
    file: Option<MetricsFile>,
    events: Option<EventFile>,
    start: Instant,
    step_start: Instant,
    budget: Budget,
    pub(crate) summary: Summary,
    /// Whether a step was made that no checkpoint has.
    pub(crate) unsaved: bool,
}

impl Log {
    pub(crate) fn start(run: &Run, step: usize) -> Result<Self, Error> {
        let file = run.metrics.as_deref().map(|path| MetricsFile::open(path, step)).transpose()?;
        let dir = run.metrics.as_deref().map(|path| path.parent().unwrap_or(Path::new("")));
        let events = dir.map(|dir| EventFile::open(dir, step)).transpose()?;
        let now = Instant::now();
        let summary = Summary { steps: step, ..Summary::default() };
        Ok(Log { file, events, start: now, step_start: now, budget: run.budget, summary, unsaved: false })
    }

    /// Whether another step may begin.
    pub(crate) fn may_continue(&mut self, observer: &mut dyn Observer) -> bool {
        self.summary.stopped |= observer.should_stop();
        self.summary.seconds = self.start.elapsed().as_secs_f64();
        !self.summary.stopped && self.budget.seconds.is_none_or(|s| self.summary.seconds < s)
    }

    /// Writes down a finished step over `tokens` tokens.
    pub(crate) fn step(
        &mut self,
        mut metrics: Metrics,
        tokens: usize,
        max_steps: usize,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let seconds = self.step_start.elapsed().as_secs_f64();
        self.step_start = Instant::now();
        metrics.push("step_time", seconds);
        metrics.push("tokens_per_second", tokens as f64 / seconds.max(1e-9));
        if let Some(file) = &mut self.file {
            file.write(&metrics)?;
        }
        if let Some(events) = &mut self.events {
            events.write(&metrics)?;
        }
        observer.on_step(&metrics, max_steps);
        self.summary.steps = metrics.step;
        self.unsaved = true;
        self.summary.history.push(metrics);
        Ok(())
    }

    /// Ends the run: one that made all its steps leaves the model in its directory, also when it was killed between
    /// its last checkpoint and this moment and has only this to do when resumed.
    pub(crate) fn finish(mut self, run: &Run, model: &Model, max_steps: usize) -> Result<Summary, Error> {
        if let Some(to) = run.checkpoints.as_ref().filter(|_| self.summary.steps >= max_steps) {
            checkpoint::save_model(to, model, &to.dir)?;
        }
        self.summary.seconds = self.start.elapsed().as_secs_f64();
        Ok(self.summary)
    }
}
