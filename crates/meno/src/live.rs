//! The live view of a run: stages, progress, rate, remaining time, curves, and the model's current answers.
//!
//! In a terminal it is drawn below the earlier output. Elsewhere it prints plain lines, at least one every
//! ten seconds. It follows a run as its [`Observer`], stage by stage. A separate thread keeps it updated
//! during long operations.

mod chart;
mod draw;
mod scene;

use crate::progress::{self, Ticker};
use crate::terminal::{self, Redrawn, printable};
use meno_train::rollout::Rollout;
use meno_train::{Metrics, Observer};
use scene::{Scene, Within};
use std::io::stdout;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often the view checks for something to show.
const TICK: Duration = Duration::from_millis(200);

/// The view.
pub(crate) struct View {
    scene: Arc<Mutex<Scene>>,
    /// Set from outside (Ctrl-C) to end the run.
    pub stop: Arc<AtomicBool>,
    /// True once the view shows that the run is about to stop.
    stopping: bool,
    _ticker: Option<Ticker>,
}

impl View {
    /// Creates a view of a run called `title` with these stages; the first one starts immediately.
    pub(crate) fn new(title: &str, stages: &[&str]) -> View {
        View::of(title, stages, terminal())
    }

    /// Creates a view that prints plain lines, even in a terminal.
    pub(crate) fn plain(title: &str, stages: &[&str]) -> View {
        View::of(title, stages, None)
    }

    fn of(title: &str, stages: &[&str], terminal: Option<Redrawn>) -> View {
        let mut scene = Scene::new(title, stages);
        scene.terminal = terminal;
        scene.begin(0);
        let scene = Arc::new(Mutex::new(scene));
        let ticked = scene.clone();
        let period = TICK.min(progress::every() / 4);
        let ticker = Ticker::every(period, move || ticked.lock().unwrap_or_else(PoisonError::into_inner).tick());
        View { scene, stop: Arc::default(), stopping: false, _ticker: ticker }
    }

    fn scene(&self) -> MutexGuard<'_, Scene> {
        self.scene.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts stage `index`; curves and progress are reset.
    pub(crate) fn begin(&mut self, index: usize) {
        self.scene().begin(index);
    }

    /// Ends the running stage with a short description of its result.
    pub(crate) fn finish(&mut self, result: &str) {
        self.scene().finish(result);
    }

    /// Marks a stage as finished before this process started (a resumed run).
    pub(crate) fn skip(&mut self, index: usize, result: &str) {
        self.scene().skip(index, result);
    }

    /// Sets the estimated seconds of each stage. The remaining time of the run follows from these and from
    /// the duration of the finished stages.
    pub(crate) fn plan(&mut self, seconds: &[f64]) {
        self.scene().plan = seconds.to_vec();
    }

    /// Prints a line above the view.
    pub(crate) fn note(&mut self, line: &str) {
        self.scene().note(line);
    }
}

/// The terminal to draw in, if there is one that responds.
fn terminal() -> Option<Redrawn> {
    let answers = std::io::IsTerminal::is_terminal(&std::io::stdin())
        && terminal::redraws(&stdout())
        && terminal::redraws(&std::io::stderr());
    answers.then(Redrawn::default)
}

impl Drop for View {
    fn drop(&mut self) {
        self.scene().draw(true);
    }
}

impl Observer for View {
    fn on_step(&mut self, metrics: &Metrics, max_steps: usize) {
        self.scene().step(metrics, max_steps);
    }

    fn on_progress(&mut self, what: &str, done: usize, total: usize) {
        self.scene().progress(Within { what: what.to_owned(), done, total, sampled: None });
    }

    fn on_sampled(&mut self, tokens: usize, seconds: f64) {
        self.scene().sampled(tokens, seconds);
    }

    fn on_rollouts(&mut self, rollouts: &[Rollout]) {
        self.scene().rollouts(rollouts);
    }

    fn on_note(&mut self, line: &str) {
        self.note(&printable(line));
    }

    fn on_checkpoint(&mut self, _path: &Path) {
        self.scene().draw(false);
    }

    fn should_stop(&mut self) -> bool {
        let stop = self.stop.load(Ordering::Relaxed);
        if stop && !std::mem::replace(&mut self.stopping, true) {
            self.note("stopping and saving; press Ctrl-C again to exit immediately");
        }
        stop
    }
}
