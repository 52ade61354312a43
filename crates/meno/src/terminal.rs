//! The terminal: lines redrawn in place, and the display of a thought: a few dimmed lines while it is
//! written, one line when it has ended.

mod line;
mod redrawn;
mod wrapping;

pub(crate) use line::Line;
pub(crate) use redrawn::Redrawn;
pub(crate) use wrapping::{Wrapped, wrap};

use crossterm::queue;
use crossterm::style::{Attribute, Print, SetAttribute, StyledContent, Stylize};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Lines of a thought that are visible while it is written.
const LINES: usize = 6;
/// Time between two redraws.
const FRAME: Duration = Duration::from_millis(50);

/// Removes control characters except newlines and tabs: a model's output must not control the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// Columns and rows of the terminal. If it reports no size (0 × 0, as some pseudo terminals do), `COLUMNS`
/// and `LINES` apply, otherwise 80 × 24.
pub(crate) fn size() -> (usize, usize) {
    let (columns, rows) = crossterm::terminal::size().unwrap_or((0, 0));
    let or = |given: u16, variable: &str, usual: usize| match given {
        0 => std::env::var(variable)
            .ok()
            .and_then(|v| v.parse().ok())
            .filter(|n| (1..10_000).contains(n))
            .unwrap_or(usual),
        n => n.into(),
    };
    (or(columns, "COLUMNS", 80), or(rows, "LINES", 24))
}

/// True if lines can be redrawn in place: the stream is a terminal, and not one that can only print
/// (`TERM=dumb`, or no `TERM`).
pub(crate) fn redraws(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && is_capable(std::env::var("TERM").ok().as_deref())
}

fn is_capable(term: Option<&str>) -> bool {
    cfg!(windows) || !matches!(term, None | Some("" | "dumb" | "unknown"))
}

/// Dimmed text, if standard output supports it.
pub(crate) fn dim(text: impl Into<String>) -> String {
    styled(text.into(), Stylize::dim)
}

/// Bold text, if standard output supports it.
pub(crate) fn bold(text: impl Into<String>) -> String {
    styled(text.into(), Stylize::bold)
}

fn styled(text: String, style: fn(String) -> StyledContent<String>) -> String {
    if redraws(&io::stdout()) { style(text).to_string() } else { text }
}

/// A thought while it is written: its last lines, redrawn in place.
pub(crate) struct Fold<W: Write> {
    out: W,
    width: usize,
    text: String,
    shown: Redrawn,
    drawn: Option<Instant>,
    start: Instant,
    /// Tokens so far.
    pub tokens: usize,
    /// Shows the last lines if true, otherwise only that there is a thought.
    pub lines: bool,
}

impl<W: Write> Fold<W> {
    /// An empty thought on a terminal of `width` columns.
    pub(crate) fn new(out: W, width: usize, lines: bool) -> Fold<W> {
        let start = Instant::now();
        Fold {
            out,
            width: width.max(20),
            text: String::new(),
            shown: Redrawn::default(),
            drawn: None,
            start,
            tokens: 0,
            lines,
        }
    }

    /// Sets the number of columns of the terminal.
    pub(crate) fn resize(&mut self, width: usize) {
        self.width = width.max(20);
    }

    /// Adds text to the thought.
    pub(crate) fn push(&mut self, text: &str, tokens: usize) -> io::Result<()> {
        self.text.push_str(&printable(text));
        self.tokens = tokens;
        // Only the end is visible: keep enough text to fill the lines.
        let keep = LINES * self.width * 2;
        if self.text.len() > 4 * keep {
            let from = (self.text.len() - keep..self.text.len()).find(|&i| self.text.is_char_boundary(i));
            self.text.drain(..from.unwrap_or(0));
        }
        if self.drawn.is_none_or(|t| t.elapsed() >= FRAME) {
            self.draw()?;
        }
        Ok(())
    }

    fn draw(&mut self) -> io::Result<()> {
        let seconds = self.start.elapsed().as_secs_f32();
        let mut rows = vec![format!("· thinking  {seconds:.1} s · {} tokens", self.tokens)];
        if self.lines {
            let lines = wrap(self.text.trim(), self.width - 5);
            let from = lines.len().saturating_sub(LINES);
            rows.extend(lines[from..].iter().map(|l| format!("  │ {l}")));
        }
        let rows = rows.into_iter().map(|row| Line::default().dim(row).cut(self.width - 1));
        let rows: Vec<_> = rows.map(|line| (line.to_string(), line.width())).collect();
        self.shown.draw(&mut self.out, &rows, (self.width, usize::MAX))?;
        self.drawn = Some(Instant::now());
        Ok(())
    }

    /// Folds the thought into one line.
    pub(crate) fn end(mut self, cut_off: bool) -> io::Result<()> {
        self.shown.erase(&mut self.out, (self.width, usize::MAX))?;
        let seconds = self.start.elapsed().as_secs_f32();
        let how = if cut_off { "thought, cut off after" } else { "thought for" };
        let line = format!("▸ {how} {seconds:.1} s · {} tokens", self.tokens);
        queue!(self.out, SetAttribute(Attribute::Dim), Print(line), SetAttribute(Attribute::Reset), Print("\r\n"))?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_that_only_prints_is_not_drawn_on() {
        assert!(is_capable(Some("xterm-256color")) && is_capable(Some("linux")));
        assert!(cfg!(windows) || [None, Some(""), Some("dumb")].into_iter().all(|term| !is_capable(term)));
    }

    #[test]
    fn escape_sequences_do_not_pass() {
        assert_eq!(printable("a\x1b[2Jb\tc\nd\u{7}"), "a[2Jb\tc\nd");
    }

    #[test]
    fn a_thought_ends_in_one_line_and_erases_exactly_what_it_drew() {
        let mut out = Vec::new();
        let mut fold = Fold::new(&mut out, 24, true);
        fold.push(&"word ".repeat(100), 100).unwrap();
        fold.drawn = None;
        fold.push("中\u{1b}", 101).unwrap();
        fold.end(false).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches(&format!("\x1b[{}A", 1 + LINES)).count(), 2);
        let last = text.lines().last().unwrap();
        assert!(last.contains("thought for") && last.contains("101 tokens"), "{last}");
    }
}
