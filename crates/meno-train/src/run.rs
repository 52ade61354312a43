//! The context of a run: its observer, its checkpoints, its limits, its log.

use crate::checkpoint::{self, Checkpoints};
use crate::error::Error;
use crate::evaluation::Evaluation;
use crate::metrics::{Metrics, MetricsFile};
use crate::observer::Observer;
use crate::tensorboard::EventFile;
use meno_comm::Comm;
use meno_model::Model;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Limits of a run besides its number of steps.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Budget {
    /// Wall time in seconds after which no further step starts. A run that ends by time is not reproducible.
    pub seconds: Option<f64>,
}

/// The context of a run.
pub struct Run<'a> {
    /// Its observer.
    pub observer: &'a mut dyn Observer,
    /// Where and when to save, and whether to resume.
    pub checkpoints: Option<Checkpoints>,
    /// The path of `metrics.jsonl`, if requested; TensorBoard's event files are written next to it.
    pub metrics: Option<PathBuf>,
    /// The limits of the run.
    pub budget: Budget,
    /// Held-out data to evaluate, if requested.
    pub evaluation: Option<Evaluation<'a>>,
    /// The ranks that share the work. Only the first one writes metrics.
    pub comm: Comm,
}

impl<'a> Run<'a> {
    /// Creates a run of one process with an observer and without files.
    pub fn new(observer: &'a mut dyn Observer) -> Self {
        let comm = meno_comm::solo();
        Run { observer, checkpoints: None, metrics: None, budget: Budget::default(), evaluation: None, comm }
    }
}

/// The result of a run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Optimizer steps made, including those before a resume.
    pub steps: usize,
    /// True if the observer ended it early.
    pub stopped: bool,
    /// Wall time in seconds.
    pub seconds: f64,
    /// The metrics of every step made by this process.
    pub history: Vec<Metrics>,
}

impl Summary {
    /// Returns the last value of a metric.
    pub fn last(&self, name: &str) -> Option<f64> {
        self.history.iter().rev().find_map(|m| m.get(name))
    }
    /// Returns the largest value of a metric.
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
    comm: Comm,
    /// Bytes that this rank had sent before the current step.
    sent: u64,
    pub(crate) summary: Summary,
    /// True if a step was made since the last checkpoint.
    pub(crate) unsaved: bool,
}

impl Log {
    pub(crate) fn start(run: &Run, step: usize) -> Result<Self, Error> {
        let metrics = run.metrics.as_deref().filter(|_| run.comm.is_first());
        let file = metrics.map(|path| MetricsFile::open(path, step)).transpose()?;
        let dir = metrics.map(|path| path.parent().unwrap_or(Path::new("")));
        let events = dir.map(|dir| EventFile::open(dir, step)).transpose()?;
        let now = Instant::now();
        let summary = Summary { steps: step, ..Summary::default() };
        let (budget, comm, sent) = (run.budget, run.comm.clone(), run.comm.bytes_sent());
        Ok(Log { file, events, start: now, step_start: now, budget, comm, sent, summary, unsaved: false })
    }

    /// Returns true if another step may start, which all ranks agree on.
    pub(crate) fn may_continue(&mut self, observer: &mut dyn Observer) -> bool {
        self.summary.stopped |= self.comm.any(observer.should_stop());
        self.summary.seconds = self.start.elapsed().as_secs_f64();
        !self.summary.stopped && !self.comm.any(self.budget.seconds.is_some_and(|s| self.summary.seconds >= s))
    }

    /// Records a completed step over `tokens` tokens.
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
        if self.comm.size() > 1 {
            let sent = self.comm.bytes_sent();
            metrics.push("comm/bytes_sent", (sent - std::mem::replace(&mut self.sent, sent)) as f64);
        }
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

    /// Ends the run. A run that completed all its steps saves the model in its directory, also if it was killed after
    /// its last checkpoint and resumes only to do this.
    pub(crate) fn finish(mut self, run: &Run, model: &Model, max_steps: usize) -> Result<Summary, Error> {
        if let Some(to) = run.checkpoints.as_ref().filter(|_| self.summary.steps >= max_steps) {
            checkpoint::save_model(to, model, &to.dir)?;
        }
        self.summary.seconds = self.start.elapsed().as_secs_f64();
        Ok(self.summary)
    }
}
