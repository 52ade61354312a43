//! Who watches a run: progress, results, and the wish to stop.

use crate::metrics::Metrics;
use crate::rollout::Rollout;
use std::path::Path;

/// Observes a run and may stop it.
pub trait Observer {
    /// Called after every step; `max_steps` is the planned number of steps.
    fn on_step(&mut self, _metrics: &Metrics, _max_steps: usize) {}
    /// Called on progress within a step: `done` of `total` of `what` (tokens sampled, passes).
    fn on_progress(&mut self, _what: &str, _done: usize, _total: usize) {}
    /// Called with the tokens sampled and the seconds elapsed since the current rollout began.
    fn on_sampled(&mut self, _tokens: usize, _seconds: f64) {}
    /// Called with the scored responses of the latest rollout.
    fn on_rollouts(&mut self, _rollouts: &[Rollout]) {}
    /// Called with a message for the user: a warning, or output of a reward's program.
    fn on_note(&mut self, _line: &str) {}
    /// Called after a checkpoint was written.
    fn on_checkpoint(&mut self, _path: &Path) {}
    /// Returns true to end the run now; called often. The current step is dropped, all steps before it are saved.
    fn should_stop(&mut self) -> bool {
        false
    }
}

/// An observer that does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopObserver;

impl Observer for NoopObserver {}
