//! The live view of a run: stages, progress, rate, remaining time, curves, and the model's current answers.
//!
//! In a terminal it is drawn below the earlier output. Elsewhere it prints plain lines, at least one every
//! ten seconds. It follows a run as its [`Observer`], stage by stage. A separate thread keeps it updated
//! during long operations.

mod chart;
mod display;
mod draw;
mod figures;
mod scene;

use crate::progress::{self, Ticker};
use crate::terminal::{self, LiveRegion, printable};
use display::Display;
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
pub(crate) struct LiveView {
    display: Arc<Mutex<Display>>,
    /// Set from outside (Ctrl-C) to end the run.
    pub stop: Arc<AtomicBool>,
    /// True once the view shows that the run is about to stop.
    stopping: bool,
    _ticker: Option<Ticker>,
}

impl LiveView {
    /// Creates a view of a run called `title` with these stages; the first one starts immediately.
    pub(crate) fn new(title: &str, stages: &[&str]) -> LiveView {
        LiveView::of(title, stages, terminal())
    }

    /// Creates a view that prints plain lines, even in a terminal.
    pub(crate) fn plain(title: &str, stages: &[&str]) -> LiveView {
        LiveView::of(title, stages, None)
    }

    fn of(title: &str, stages: &[&str], terminal: Option<LiveRegion>) -> LiveView {
        let mut display = Display::new(Scene::new(title, stages), terminal);
        display.begin(0);
        let display = Arc::new(Mutex::new(display));
        let ticked = display.clone();
        let period = TICK.min(progress::every() / 4);
        let ticker = Ticker::every(period, move || ticked.lock().unwrap_or_else(PoisonError::into_inner).tick());
        LiveView { display, stop: Arc::default(), stopping: false, _ticker: ticker }
    }

    fn display(&self) -> MutexGuard<'_, Display> {
        self.display.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts stage `index`; curves and progress are reset.
    pub(crate) fn begin(&mut self, index: usize) {
        self.display().begin(index);
    }

    /// Ends the running stage with a short description of its result.
    pub(crate) fn finish(&mut self, result: &str) {
        self.display().finish(result);
    }

    /// Marks a stage as finished before this process started (a resumed run).
    pub(crate) fn skip(&mut self, index: usize, result: &str) {
        self.display().skip(index, result);
    }

    /// Sets the estimated seconds of each stage. The remaining time of the run follows from these and from
    /// the duration of the finished stages.
    pub(crate) fn plan(&mut self, seconds: &[f64]) {
        self.display().plan(seconds);
    }

    /// Prints a line above the view.
    pub(crate) fn note(&mut self, line: &str) {
        self.display().note(line);
    }
}

/// The terminal to draw in, if there is one that responds.
fn terminal() -> Option<LiveRegion> {
    let answers = std::io::IsTerminal::is_terminal(&std::io::stdin())
        && terminal::redraws(&stdout())
        && terminal::redraws(&std::io::stderr());
    answers.then(LiveRegion::default)
}

impl Drop for LiveView {
    fn drop(&mut self) {
        self.display().draw(true);
    }
}

impl Observer for LiveView {
    fn on_step(&mut self, metrics: &Metrics, max_steps: usize) {
        self.display().step(metrics, max_steps);
    }

    fn on_progress(&mut self, what: &str, done: usize, total: usize) {
        self.display().progress(Within { what: what.to_owned(), done, total, sampled: None });
    }

    fn on_sampled(&mut self, tokens: usize, seconds: f64) {
        self.display().sampled(tokens, seconds);
    }

    fn on_rollouts(&mut self, rollouts: &[Rollout]) {
        self.display().rollouts(rollouts);
    }

    fn on_note(&mut self, line: &str) {
        self.note(&printable(line));
    }

    fn on_checkpoint(&mut self, _path: &Path) {
        self.display().draw(false);
    }

    fn should_stop(&mut self) -> bool {
        let stop = self.stop.load(Ordering::Relaxed);
        if stop && !std::mem::replace(&mut self.stopping, true) {
            self.note("stopping and saving; press Ctrl-C again to exit immediately");
        }
        stop
    }
}
