//! The log files of a stage that is running: `behaviour.jsonl`, what its rollouts do, and `elapsed`, its wall time.

use crate::behaviour;
use crate::observer::StageObserver;
use meno_train::rollout::Rollout;
use meno_train::{Error, Metrics, Observer};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The seconds that the stage in `dir` had taken when its last checkpoint was written; 0 without a checkpoint.
pub(crate) fn elapsed(dir: &Path) -> f64 {
    std::fs::read_to_string(dir.join("elapsed")).ok().and_then(|s| s.trim().parse().ok()).unwrap_or(0.0)
}

/// Passes the events of a stage on to the run's observer and logs the behaviour of its rollouts.
pub(crate) struct StageLogger<'a> {
    observer: &'a mut dyn StageObserver,
    dir: PathBuf,
    behaviour: File,
    /// The behaviour of the latest rollouts, until the step they belong to is logged.
    latest: Vec<(&'static str, f64)>,
    /// The wall seconds of earlier attempts.
    before: f64,
    clock: Instant,
}

impl<'a> StageLogger<'a> {
    pub(crate) fn new(observer: &'a mut dyn StageObserver, dir: &Path) -> Result<Self, Error> {
        let path = dir.join("behaviour.jsonl");
        let behaviour = File::options().append(true).create(true).open(&path).map_err(Error::io(&path))?;
        let (before, clock) = (elapsed(dir), Instant::now());
        Ok(StageLogger { observer, dir: dir.to_owned(), behaviour, latest: Vec::new(), before, clock })
    }
}

impl Observer for StageLogger<'_> {
    fn on_step(&mut self, metrics: &Metrics, max_steps: usize) {
        let mut all = metrics.clone();
        if !self.latest.is_empty() {
            let mut line = Metrics::new(metrics.step);
            for (name, value) in self.latest.drain(..) {
                line.push(name, value);
                all.push(name, value);
            }
            // Ignore errors: a missing line of a curve is not worth ending the run.
            let _ = writeln!(self.behaviour, "{}", line.to_json());
        }
        self.observer.on_step(&all, max_steps);
    }

    fn on_progress(&mut self, what: &str, done: usize, total: usize) {
        self.observer.on_progress(what, done, total);
    }

    fn on_sampled(&mut self, tokens: usize, seconds: f64) {
        self.observer.on_sampled(tokens, seconds);
    }

    fn on_rollouts(&mut self, rollouts: &[Rollout]) {
        self.latest = behaviour::metrics(rollouts);
        self.observer.on_rollouts(rollouts);
    }

    fn on_note(&mut self, line: &str) {
        self.observer.on_note(line);
    }

    fn on_checkpoint(&mut self, path: &Path) {
        let seconds = self.before + self.clock.elapsed().as_secs_f64();
        let _ = std::fs::write(self.dir.join("elapsed"), format!("{seconds}\n"));
        self.observer.on_checkpoint(path);
    }

    fn should_stop(&mut self) -> bool {
        self.observer.should_stop()
    }
}
