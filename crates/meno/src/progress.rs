//! Progress of long work. In a terminal it is a line that is redrawn in place. Elsewhere (a pipe, cron) it is
//! a line on standard error at least every ten seconds; work of one or two seconds prints nothing there.

mod ticker;

pub(crate) use crate::bytes::bytes;
pub(crate) use meno_train::time::duration;
pub(crate) use ticker::Ticker;

use crate::terminal::{self, Line, LiveRegion, printable};
use std::io::{IsTerminal, Write, stderr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Where lines are not redrawn in place, shorter work prints nothing.
const FIRST: Duration = Duration::from_secs(2);
/// Interval between two drawings of a terminal line.
const FRAME: Duration = Duration::from_millis(100);
/// Columns of the progress bar.
const BAR: usize = 24;

/// Maximum time between two lines where they are not redrawn in place: `MENO_PROGRESS_SECONDS`, otherwise
/// eight seconds, so that the interval stays below ten seconds even if a thread runs late.
pub(crate) fn every() -> Duration {
    static EVERY: OnceLock<Duration> = OnceLock::new();
    *EVERY.get_or_init(|| {
        let asked = std::env::var("MENO_PROGRESS_SECONDS").ok().and_then(|s| s.trim().parse().ok());
        Duration::from_secs_f64(asked.filter(|s: &f64| (0.001..=1e6).contains(s)).unwrap_or(8.0))
    })
}

/// The unit of the progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Items: `12/32`.
    Count,
    /// Bytes: `1.2 of 3.4 GB`, and the rate per second.
    Bytes,
    /// Only the percentage is meaningful: `40 %`.
    Share,
}

/// Work in progress. Dropping it ends the work.
pub(crate) struct Work {
    state: Arc<Mutex<State>>,
    _ticker: Option<Ticker>,
}

/// The progress, and how much of it has been reported.
struct State {
    name: String,
    unit: Unit,
    done: u64,
    total: u64,
    /// Done before this process started (a resumed download); not counted in the rate.
    before: u64,
    /// Additional information: a rate, the name of a tensor.
    detail: String,
    began: Instant,
    told: Option<Instant>,
    screen: Option<LiveRegion>,
}

impl Work {
    /// Creates work called `name`, for example `loading model.gguf`.
    pub(crate) fn new(name: impl Into<String>, unit: Unit) -> Work {
        let screen = terminal::redraws(&stderr()).then(LiveRegion::default);
        let period = if screen.is_some() { FRAME } else { (every() / 4).min(Duration::from_millis(500)) };
        let state = State {
            name: name.into(),
            unit,
            done: 0,
            total: 0,
            before: 0,
            detail: String::new(),
            began: Instant::now(),
            told: None,
            screen,
        };
        let state = Arc::new(Mutex::new(state));
        let ticked = state.clone();
        let ticker = Ticker::every(period, move || lock(&ticked).tick());
        Work { state, _ticker: ticker }
    }

    /// Creates the work of loading the model at `path`.
    pub(crate) fn loading(path: &std::path::Path) -> Work {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        // A snapshot in the hub's cache is named by its commit, so use the repository's name.
        let hub = path.ancestors().filter_map(|p| p.file_name()?.to_str()?.strip_prefix("models--")).next();
        let name = match hub {
            Some(repo) if !path.is_file() => repo.replace("--", "/"),
            _ => name.into_owned(),
        };
        Work::new(format!("loading {}", printable(&name)), Unit::Share)
    }

    /// Prints the first line now, without a delay.
    pub(crate) fn at_once(self) -> Work {
        {
            let mut state = lock(&self.state);
            if state.screen.is_none() {
                state.tell();
            }
        }
        self
    }

    /// Sets the progress to `done` of `total`.
    pub(crate) fn set(&self, done: u64, total: u64) {
        let mut state = lock(&self.state);
        (state.done, state.total) = (done, total);
    }

    /// Counts `more` as done before; they do not affect the rate.
    pub(crate) fn skip(&self, more: u64) {
        let mut state = lock(&self.state);
        state.done += more;
        state.before += more;
    }

    /// Sets how much of the progress does not affect the rate.
    pub(crate) fn set_before(&self, before: u64) {
        lock(&self.state).before = before;
    }

    /// Sets the additional information.
    pub(crate) fn detail(&self, detail: impl Into<String>) {
        lock(&self.state).detail = detail.into();
    }

    /// Starts another part of the same work.
    pub(crate) fn next(&self, name: impl Into<String>) {
        let mut state = lock(&self.state);
        state.name = name.into();
        state.detail.clear();
        (state.done, state.total, state.before, state.began) = (0, 0, 0, Instant::now());
    }

    /// Changes the name.
    pub(crate) fn rename(&self, name: impl Into<String>) {
        lock(&self.state).name = name.into();
    }

    /// Prints a line that stays.
    pub(crate) fn note(&self, line: &str) {
        let mut state = lock(&self.state);
        state.clear();
        eprintln!("{line}");
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        lock(&self.state).clear();
    }
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn tick(&mut self) {
        if self.screen.is_some() {
            self.draw();
        } else {
            let due = self.told.map_or(self.began.elapsed() >= FIRST.min(every()), |at| at.elapsed() >= every());
            if due {
                self.tell();
            }
        }
    }

    fn tell(&mut self) {
        self.told = Some(Instant::now());
        // A closed standard error must not end the work.
        let _ = writeln!(stderr(), "{}", self.text(self.began.elapsed()));
    }

    fn draw(&mut self) {
        let text = self.text(self.began.elapsed());
        let Some(screen) = &mut self.screen else { return };
        let (columns, rows) = terminal::size();
        let share = if self.total > 0 { (self.done as f64 / self.total as f64).clamp(0.0, 1.0) } else { 0.0 };
        let filled = (share * BAR as f64).round() as usize;
        let bar = Line::default().plain("━".repeat(filled)).dim("─".repeat(BAR - filled)).plain(" ");
        let line = if self.total > 0 && columns > 2 * BAR { bar } else { Line::default() };
        let line = line.plain(text).cut(columns.saturating_sub(1));
        let width = line.width();
        let _ = screen.draw(&mut stderr(), &[(line.to_string(), width)], (columns, rows));
    }

    fn clear(&mut self) {
        if let Some(screen) = &mut self.screen {
            let _ = screen.erase(&mut stderr(), terminal::size());
            let _ = stderr().flush();
        }
    }

    /// The text shown after `elapsed`.
    fn text(&self, elapsed: Duration) -> String {
        let seconds = elapsed.as_secs_f64();
        let mut parts = Vec::new();
        let share = (self.total > 0).then(|| (100.0 * self.done as f64 / self.total as f64).clamp(0.0, 100.0));
        let percent = share.map(|s| format!("{} %", s.floor()));
        match (self.unit, percent) {
            (Unit::Count, Some(_)) => parts.push(format!("{}/{}", self.done, self.total)),
            (Unit::Bytes, Some(percent)) => {
                parts.push(format!("{} of {}", bytes(self.done), bytes(self.total)));
                parts.push(percent);
            }
            (Unit::Share, Some(percent)) => parts.push(percent),
            (_, None) => {}
        }
        let made = self.done.saturating_sub(self.before);
        let rate = made as f64 / seconds.max(1e-3);
        if self.unit == Unit::Bytes && made > 0 {
            parts.push(format!("{}/s", bytes(rate as u64)));
        }
        if !self.detail.is_empty() {
            parts.push(self.detail.clone());
        }
        match self.total.checked_sub(self.done) {
            Some(left) if made > 0 && left > 0 && seconds >= 1.0 => {
                parts.push(format!("{} left", duration(left as f64 / rate)));
            }
            _ if parts.is_empty() || self.done == 0 => parts.push(duration(seconds)),
            _ => {}
        }
        format!("{}: {}", self.name, parts.join(", "))
    }
}

/// True if standard error is a terminal.
pub(crate) fn is_watched() -> bool {
    stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(unit: Unit, done: u64, total: u64) -> State {
        let began = Instant::now();
        let (name, detail) = ("work".to_owned(), String::new());
        State { name, unit, done, total, before: 0, detail, began, told: None, screen: None }
    }

    #[test]
    fn a_line_says_what_how_far_how_fast_and_how_long() {
        let after = Duration::from_secs(10);
        assert_eq!(state(Unit::Share, 0, 0).text(after), "work: 10 s");
        assert_eq!(state(Unit::Share, 2, 5).text(after), "work: 40 %, 15 s left");
        assert_eq!(state(Unit::Count, 0, 32).text(after), "work: 0/32, 10 s");
        let detail = "340 tokens/s".to_owned();
        let counted = State { detail, ..state(Unit::Count, 12, 32) };
        assert_eq!(counted.text(after), "work: 12/32, 340 tokens/s, 17 s left");
        assert_eq!(state(Unit::Count, 32, 32).text(after), "work: 32/32");
        // Data that was there before does not count as speed.
        let resumed = State { before: 2_000_000_000, ..state(Unit::Bytes, 2_200_000_000, 3_000_000_000) };
        assert_eq!(resumed.text(after), "work: 2.2 GB of 3.0 GB, 73 %, 20 MB/s, 40 s left");
    }
}
