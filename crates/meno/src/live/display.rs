//! Shows the state of a run: drawn in a terminal, or reported as plain lines.

use super::draw;
use super::figures::{figure, shown};
use super::scene::{Scene, Within};
use crate::progress::{self, duration};
use crate::terminal::{self, LiveRegion};
use meno_train::Metrics;
use meno_train::rollout::Rollout;
use std::io::{Write, stderr, stdout};
use std::time::{Duration, Instant};

/// Maximum terminal lines that the view uses.
const HEIGHT: usize = 22;
/// Minimum time between two drawings.
const REFRESH: Duration = Duration::from_millis(120);
/// Time after which clocks are redrawn.
const CLOCK: Duration = Duration::from_millis(950);
/// Interval of plain lines for steps at the start; later it is [`progress::every`].
const SOON: Duration = Duration::from_secs(2);
/// How long *the start* lasts.
const FIRST: Duration = Duration::from_secs(20);

/// The state of a run, and where it is shown.
pub(super) struct Display {
    scene: Scene,
    /// The drawn lines, if there is a terminal.
    terminal: Option<LiveRegion>,
    drawn: Option<Instant>,
    reported: Option<Instant>,
}

impl Display {
    /// Shows a run in a terminal or, without one, as plain lines.
    pub(super) fn new(scene: Scene, terminal: Option<LiveRegion>) -> Display {
        Display { scene, terminal, drawn: None, reported: None }
    }

    /// Starts stage `index`.
    pub(super) fn begin(&mut self, index: usize) {
        self.scene.begin(index);
        let count = self.scene.stages.len();
        if let Some(stage) = self.scene.stages.get(index).filter(|_| count > 1) {
            let left = self.scene.whole_left().map_or_else(String::new, |s| format!("  {} left in all", duration(s)));
            let line = format!("[{}/{count}] {}{left}", index + 1, stage.name);
            self.say(&line);
        }
        self.draw(true);
    }

    /// Ends the running stage.
    pub(super) fn finish(&mut self, result: &str) {
        if self.scene.finish(result) && !result.is_empty() {
            let line = format!("{}: {result}", self.scene.stages[self.scene.current].name);
            self.say(&line);
        }
        self.draw(true);
    }

    /// Marks a stage as finished before this process started.
    pub(super) fn skip(&mut self, index: usize, result: &str) {
        self.scene.skip(index, result);
        self.draw(true);
    }

    /// Sets the estimated seconds of each stage.
    pub(super) fn plan(&mut self, seconds: &[f64]) {
        self.scene.plan = seconds.to_vec();
    }

    /// Prints a line above the view.
    pub(super) fn note(&mut self, line: &str) {
        match &mut self.terminal {
            None => self.say(line),
            Some(region) => {
                // A terminal that has closed must not end a run; the next drawing detects it.
                let _ = region.erase(&mut stdout(), terminal::size());
                let _ = writeln!(stdout(), "{line}");
                self.draw(true);
            }
        }
    }

    /// Shows a completed step.
    pub(super) fn step(&mut self, metrics: &Metrics, max_steps: usize) {
        self.scene.step(metrics, max_steps);
        self.tell_step(metrics);
        self.draw(metrics.step >= max_steps);
    }

    /// Shows progress within a step.
    pub(super) fn progress(&mut self, within: Within) {
        self.scene.progress(within);
        if self.reported.is_none() {
            self.tell_within();
        }
        self.draw(false);
    }

    /// Shows the tokens sampled so far.
    pub(super) fn sampled(&mut self, tokens: usize, seconds: f64) {
        self.scene.sampled(tokens, seconds);
        self.draw(false);
    }

    /// Shows one of the latest responses.
    pub(super) fn rollouts(&mut self, rollouts: &[Rollout]) {
        if self.scene.rollouts(rollouts) {
            self.draw(false);
        }
    }

    /// Called periodically while the run is busy.
    pub(super) fn tick(&mut self) {
        if self.terminal.is_some() {
            let due = self.drawn.is_none_or(|at| at.elapsed() >= CLOCK);
            let resized = self.terminal.as_ref().is_some_and(|t| t.size() != terminal::size());
            self.draw(due || resized);
        } else if self.scene.is_running()
            && self.reported.map_or(self.scene.started.elapsed(), |at| at.elapsed()) >= progress::every()
        {
            self.tell_within();
        }
    }

    /// Draws the view; not more often than every [`REFRESH`] unless `now`.
    pub(super) fn draw(&mut self, now: bool) {
        let due = self.drawn.is_none_or(|t| t.elapsed() >= REFRESH);
        if !(now || due) {
            return;
        }
        if let Some(mut region) = self.terminal.take() {
            self.drawn = Some(Instant::now());
            // A terminal that has closed must not end a run.
            let fine = self.draw_on(&mut region).is_ok();
            self.terminal = fine.then_some(region);
        }
    }

    fn draw_on(&self, region: &mut LiveRegion) -> std::io::Result<()> {
        let (columns, rows) = terminal::size();
        // Leave the last column free: a full line may be broken by this terminal, or when the terminal becomes wider.
        let lines =
            draw::lines(&self.scene, columns.saturating_sub(1).max(1), HEIGHT.min(rows.saturating_sub(1)).max(1));
        let lines: Vec<_> = lines.iter().map(|line| (line.to_string(), line.width())).collect();
        region.draw(&mut stdout(), &lines, (columns, rows))
    }

    /// Prints a plain line, unless the view is drawn in a terminal.
    fn say(&mut self, line: &str) {
        if self.terminal.is_none() {
            self.reported = Some(Instant::now());
            // A closed standard error must not end a run.
            let _ = writeln!(stderr(), "{line}");
        }
    }

    fn tell_step(&mut self, metrics: &Metrics) {
        let (last, since) = (metrics.step >= self.scene.steps.1, self.scene.started.elapsed());
        let wait = if since < FIRST { SOON.min(progress::every()) } else { progress::every() };
        if self.terminal.is_some() || !(last || metrics.step == 1 || self.reported.is_none_or(|t| t.elapsed() >= wait))
        {
            return;
        }
        let mut line = format!("step {}/{}", metrics.step, self.scene.steps.1);
        for (name, value) in shown(metrics) {
            line += &format!("  {name} {}", figure(value));
        }
        line += &self.scene.left().filter(|_| !last).map_or_else(String::new, |left| format!("  {left}"));
        self.say(&line);
    }

    /// Reports progress while no step ends.
    fn tell_within(&mut self) {
        let (step, steps) = self.scene.steps;
        let mut parts = Vec::new();
        if self.scene.stages.len() > 1 {
            parts.extend(self.scene.stages.get(self.scene.current).map(|s| s.name.clone()));
        }
        if steps > 0 && step < steps {
            parts.push(format!("step {}/{steps}", step + 1));
        }
        parts.extend(self.scene.within.as_ref().map(Within::text));
        if parts.is_empty() || self.scene.within.is_none() {
            parts.push(format!("running for {}", duration(self.scene.started.elapsed().as_secs_f64())));
        }
        parts.extend(self.scene.left());
        self.say(&parts.join("  "));
    }
}
