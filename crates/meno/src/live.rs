//! The live view of a run: stages, progress, rate, time left, curves, and what the model answers just now.
//!
//! In a terminal it is drawn below whatever was printed before; elsewhere it is plain lines. It watches a run as its
//! [`Observer`], one stage after the other.

mod chart;
mod draw;

use crate::terminal::{Redrawn, printable};
use crossterm::cursor::{Hide, Show};

use meno_train::data::Verdict;
use meno_train::rollout::Rollout;
use meno_train::{Metrics, Observer};
use std::io::{IsTerminal, Write, stdout};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Most lines of the terminal that the view takes.
const HEIGHT: usize = 22;
/// Time between two drawings.
const REFRESH: Duration = Duration::from_millis(120);
/// Time between two plain lines.
const PLAIN: Duration = Duration::from_secs(2);

/// What became of a stage.
#[derive(Clone, Debug, PartialEq)]
pub enum StageState {
    /// Its turn has not come.
    Waiting,
    /// It runs since then.
    Running(Instant),
    /// It took so long; with a word on the result.
    Done(Duration, String),
}

/// One stage of a run.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub state: StageState,
}

/// A figure over the steps of the stage.
#[derive(Clone, Debug)]
struct Curve {
    name: String,
    points: Vec<(f64, f64)>,
}

/// An answer to show.
#[derive(Clone, Debug)]
struct Sample {
    question: String,
    text: String,
    verdict: Verdict,
    reward: f32,
    tokens: usize,
}

/// The view.
pub struct View {
    title: String,
    stages: Vec<Stage>,
    current: usize,
    started: Instant,
    /// Steps made and wanted, and when this process began to count.
    steps: (usize, usize),
    first: Option<(usize, Instant)>,
    within: Option<(String, usize, usize)>,
    latest: Option<Metrics>,
    curves: Vec<Curve>,
    sample: Option<Sample>,
    /// Set from outside (Ctrl-C) to end the run.
    pub stop: Arc<AtomicBool>,
    /// Whether it was told that the run is about to stop.
    stopping: bool,
    /// What is on the screen, if there is one.
    terminal: Option<Redrawn>,
    drawn: Option<Instant>,
}

impl View {
    /// A view of a run called `title` with these stages, the first of them begun.
    pub fn new(title: &str, stages: &[&str]) -> View {
        let mut view = View::bare(title, stages);
        view.terminal = terminal();
        view.begin(0);
        view
    }

    /// A view without a terminal, whatever there is: plain lines.
    pub fn plain(title: &str, stages: &[&str]) -> View {
        let mut view = View::bare(title, stages);
        view.begin(0);
        view
    }

    fn bare(title: &str, stages: &[&str]) -> View {
        let stage = |name: &&str| Stage { name: name.to_string(), state: StageState::Waiting };
        View {
            title: title.to_owned(),
            stages: stages.iter().map(stage).collect(),
            current: 0,
            started: Instant::now(),
            steps: (0, 0),
            first: None,
            within: None,
            latest: None,
            curves: Vec::new(),
            sample: None,
            stop: Arc::default(),
            stopping: false,
            terminal: None,
            drawn: None,
        }
    }

    /// Begins stage `index`; curves and progress start anew.
    pub fn begin(&mut self, index: usize) {
        self.current = index;
        self.steps = (0, 0);
        self.first = None;
        self.within = None;
        self.latest = None;
        self.curves.clear();
        self.sample = None;
        if let Some(stage) = self.stages.get_mut(index) {
            stage.state = StageState::Running(Instant::now());
            if self.terminal.is_none() && self.stages.len() > 1 {
                eprintln!("[{}/{}] {}", index + 1, self.stages.len(), self.stages[index].name);
            }
        }
        self.draw(true);
    }

    /// Ends the running stage with a word on its result.
    pub fn finish(&mut self, result: &str) {
        if let Some(stage) = self.stages.get_mut(self.current)
            && let StageState::Running(since) = stage.state
        {
            stage.state = StageState::Done(since.elapsed(), result.to_owned());
            if self.terminal.is_none() && !result.is_empty() {
                eprintln!("{}: {result}", self.stages[self.current].name);
            }
        }
        self.draw(true);
    }

    /// Marks a stage as done before this process began (a resumed run).
    pub fn skip(&mut self, index: usize, result: &str) {
        if let Some(stage) = self.stages.get_mut(index) {
            stage.state = StageState::Done(Duration::ZERO, result.to_owned());
        }
        self.draw(true);
    }

    /// Prints a line above the view.
    pub fn note(&mut self, line: &str) {
        match &mut self.terminal {
            None => eprintln!("{line}"),
            Some(redrawn) => {
                let columns = crossterm::terminal::size().map_or(80, |s| s.0 as usize);
                // A terminal that went away must not end a run; the next drawing notices.
                let _ = redrawn.erase(&mut stdout(), columns);
                println!("{line}");
                self.draw(true);
            }
        }
    }

    /// Shows progress of work that has no steps of its own (an evaluation).
    pub fn progress(&mut self, what: &str, done: usize, total: usize) {
        self.on_progress(what, done, total);
    }

    /// Seconds until the stage is done, from the rate of this process.
    fn seconds_left(&self) -> Option<f64> {
        let (first, since) = self.first?;
        let made = self.steps.0.checked_sub(first).filter(|m| *m > 0)?;
        let rate = since.elapsed().as_secs_f64() / made as f64;
        Some(rate * self.steps.1.saturating_sub(self.steps.0) as f64)
    }

    fn draw(&mut self, now: bool) {
        let due = self.drawn.is_none_or(|t| t.elapsed() >= REFRESH);
        if !(now || due) {
            return;
        }
        if let Some(mut redrawn) = self.terminal.take() {
            self.drawn = Some(Instant::now());
            // A terminal that went away must not end a run.
            let fine = self.draw_on(&mut redrawn).is_ok();
            self.terminal = fine.then_some(redrawn);
        }
    }

    fn draw_on(&self, redrawn: &mut Redrawn) -> std::io::Result<()> {
        let (columns, rows) = crossterm::terminal::size()?;
        let (columns, rows) = (columns as usize, (rows as usize).saturating_sub(1));
        let lines = draw::lines(self, columns, HEIGHT.min(rows).max(1));
        let lines: Vec<_> = lines.iter().map(|line| (line.to_string(), line.width())).collect();
        redrawn.draw(&mut stdout(), &lines, columns)
    }

    fn plain_line(&mut self, metrics: &Metrics, max_steps: usize) {
        let last = metrics.step >= max_steps;
        if self.terminal.is_some() || !(last || self.drawn.is_none_or(|t| t.elapsed() >= PLAIN)) {
            return;
        }
        self.drawn = Some(Instant::now());
        let mut line = format!("step {}/{max_steps}", metrics.step);
        for (name, value) in draw::shown(metrics) {
            line += &format!("  {name} {}", draw::figure(value));
        }
        if let Some(seconds) = self.seconds_left().filter(|_| !last) {
            line += &format!("  {} left", draw::duration(seconds));
        }
        eprintln!("{line}");
    }
}

/// A terminal to draw in, if there is one that answers.
fn terminal() -> Option<Redrawn> {
    let answers = std::io::stdin().is_terminal() && stdout().is_terminal() && std::io::stderr().is_terminal();
    if !answers || crossterm::terminal::size().is_err() {
        return None;
    }
    crossterm::execute!(stdout(), Hide).ok()?;
    Some(Redrawn::default())
}

impl Drop for View {
    fn drop(&mut self) {
        self.draw(true);
        if self.terminal.is_some() {
            let _ = crossterm::execute!(stdout(), Show);
            let _ = stdout().flush();
        }
    }
}

impl Observer for View {
    fn on_step(&mut self, metrics: &Metrics, max_steps: usize) {
        // The first step of a process is counted from its end: what came before it is loading.
        self.first.get_or_insert((metrics.step, Instant::now()));
        self.steps = (metrics.step, max_steps);
        self.within = None;
        for (name, value) in &metrics.values {
            if !value.is_finite() || !draw::is_curve(name) {
                continue;
            }
            let point = (metrics.step as f64, *value);
            match self.curves.iter_mut().find(|c| c.name == *name) {
                Some(curve) => curve.points.push(point),
                None => self.curves.push(Curve { name: name.to_string(), points: vec![point] }),
            }
        }
        self.latest = Some(metrics.clone());
        self.plain_line(metrics, max_steps);
        self.draw(metrics.step >= max_steps);
    }

    fn on_progress(&mut self, what: &str, done: usize, total: usize) {
        self.within = Some((what.to_owned(), done, total));
        self.draw(false);
    }

    fn on_rollouts(&mut self, rollouts: &[Rollout]) {
        if rollouts.is_empty() {
            return;
        }
        // Another one every time, right and wrong ones as they come.
        let r = &rollouts[(self.steps.0 * 7) % rollouts.len()];
        let (question, text) = (r.question.text.clone(), r.text.clone());
        self.sample = Some(Sample { question, text, verdict: r.verdict, reward: r.reward, tokens: r.tokens.len() });
        self.draw(false);
    }

    fn on_note(&mut self, line: &str) {
        self.note(&printable(line));
    }

    fn on_checkpoint(&mut self, _path: &Path) {
        self.draw(false);
    }

    fn should_stop(&mut self) -> bool {
        let stop = self.stop.load(Ordering::Relaxed);
        if stop && !std::mem::replace(&mut self.stopping, true) {
            self.note("stopping, what is done will be saved; Ctrl-C again ends at once");
        }
        stop
    }
}
