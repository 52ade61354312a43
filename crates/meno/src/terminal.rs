//! What the terminal shows of a thought: a few dimmed lines while it is written, one line when it has ended.

use crossterm::cursor::{MoveToColumn, MoveUp};
use crossterm::style::{Attribute, Print, SetAttribute};
use crossterm::terminal::{Clear, ClearType};
use crossterm::{QueueableCommand, queue};
use std::io::{self, Write};
use std::time::{Duration, Instant};
use unicode_width::UnicodeWidthChar;

/// Lines of a thought that are shown while it is written.
const LINES: usize = 6;
/// Time between two redraws.
const FRAME: Duration = Duration::from_millis(50);

/// Text without control characters but newlines and tabs: what a model writes must not steer the terminal.
pub fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// Breaks text into lines of at most `width` columns.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut column = 0;
    for c in text.chars() {
        let c = if c == '\t' { ' ' } else { c };
        let w = c.width().unwrap_or(0);
        if c == '\n' || column + w > width {
            lines.push(String::new());
            column = 0;
        }
        if c != '\n' {
            lines.last_mut().expect("invariant: there is a line").push(c);
            column += w;
        }
    }
    lines
}

/// A thought while it is written: its last lines, redrawn in place.
pub struct Fold<W: Write> {
    out: W,
    width: usize,
    text: String,
    shown: usize,
    drawn: Option<Instant>,
    start: Instant,
    /// Tokens so far.
    pub tokens: usize,
    /// Whether the lines are shown, or only that there is a thought.
    pub lines: bool,
}

impl<W: Write> Fold<W> {
    /// An empty thought on a terminal of `width` columns.
    pub fn new(out: W, width: usize, lines: bool) -> Fold<W> {
        let start = Instant::now();
        Fold { out, width: width.max(20), text: String::new(), shown: 0, drawn: None, start, tokens: 0, lines }
    }

    /// More of the thought.
    pub fn push(&mut self, text: &str, tokens: usize) -> io::Result<()> {
        self.text.push_str(&printable(text));
        self.tokens = tokens;
        // Only the end can be seen: keep what surely fills the lines.
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
        self.erase()?;
        let seconds = self.start.elapsed().as_secs_f32();
        let mut rows = vec![format!("· thinking  {seconds:.1} s · {} tokens", self.tokens)];
        if self.lines {
            let lines = wrap(self.text.trim(), self.width - 4);
            let from = lines.len().saturating_sub(LINES);
            rows.extend(lines[from..].iter().map(|l| format!("  │ {l}")));
        }
        self.out.queue(SetAttribute(Attribute::Dim))?;
        for row in &rows {
            queue!(self.out, Print(row), Print("\r\n"))?;
        }
        self.out.queue(SetAttribute(Attribute::Reset))?;
        self.out.flush()?;
        self.shown = rows.len();
        self.drawn = Some(Instant::now());
        Ok(())
    }

    fn erase(&mut self) -> io::Result<()> {
        if self.shown > 0 {
            queue!(self.out, MoveUp(self.shown as u16), MoveToColumn(0), Clear(ClearType::FromCursorDown))?;
            self.shown = 0;
        }
        Ok(())
    }

    /// Folds the thought into one line.
    pub fn end(mut self, cut_off: bool) -> io::Result<()> {
        self.erase()?;
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
    fn wide_characters_take_two_columns() {
        assert_eq!(wrap("abcdef\ng", 4), ["abcd", "ef", "g"]);
        assert_eq!(wrap("你好世界", 5), ["你好", "世界"]);
        assert_eq!(wrap("", 5), [""]);
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
        assert_eq!(fold.shown, 1 + LINES);
        fold.drawn = None;
        fold.push("中\u{1b}", 101).unwrap();
        fold.end(false).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches(&format!("\x1b[{}A", 1 + LINES)).count(), 2);
        let last = text.lines().last().unwrap();
        assert!(last.contains("thought for") && last.contains("101 tokens"), "{last}");
    }
}
