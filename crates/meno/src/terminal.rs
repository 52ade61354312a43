//! The terminal: lines drawn in place, and what is shown of a thought: a few dimmed lines while it is written, one
//! line when it has ended.

mod line;
mod redrawn;

pub use line::Line;
pub use redrawn::Redrawn;

use crossterm::queue;
use crossterm::style::{Attribute, Print, SetAttribute};
use std::io::{self, Write};
use std::time::{Duration, Instant};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Lines of a thought that are shown while it is written.
const LINES: usize = 6;
/// Time between two redraws.
const FRAME: Duration = Duration::from_millis(50);

/// Text without control characters but newlines and tabs: what a model writes must not steer the terminal.
pub fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// Breaks text into lines of at most `width` columns, between words where there are any.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let (mut column, mut broken) = (0, false);
    for c in text.chars() {
        let c = if c == '\t' { ' ' } else { c };
        let line = lines.last_mut().expect("invariant: there is a line");
        if c == '\n' {
            lines.push(String::new());
            (column, broken) = (0, false);
            continue;
        }
        let w = c.width().unwrap_or(0);
        if column > 0 && column + w > width {
            // A word that has begun goes to the next line.
            let blank = line.rfind(' ').filter(|&at| c != ' ' && !line[..at].trim().is_empty());
            let begun = blank.map_or_else(String::new, |at| line.split_off(at + 1));
            line.truncate(line.trim_end().len());
            (column, broken) = (begun.width(), true);
            lines.push(begun);
            if column + w > width {
                lines.push(String::new());
                column = 0;
            }
        }
        // The blanks at a break are the break.
        if !(c == ' ' && broken && column == 0) {
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
    shown: Redrawn,
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
        let seconds = self.start.elapsed().as_secs_f32();
        let mut rows = vec![format!("· thinking  {seconds:.1} s · {} tokens", self.tokens)];
        if self.lines {
            let lines = wrap(self.text.trim(), self.width - 4);
            let from = lines.len().saturating_sub(LINES);
            rows.extend(lines[from..].iter().map(|l| format!("  │ {l}")));
        }
        let rows = rows.into_iter().map(|row| Line::default().dim(row).cut(self.width));
        let rows: Vec<_> = rows.map(|line| (line.to_string(), line.width())).collect();
        self.shown.draw(&mut self.out, &rows, self.width)?;
        self.drawn = Some(Instant::now());
        Ok(())
    }

    /// Folds the thought into one line.
    pub fn end(mut self, cut_off: bool) -> io::Result<()> {
        self.shown.erase(&mut self.out, self.width)?;
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
    fn lines_break_between_words() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("  abc你", 5), ["  abc", "你"]);
        assert_eq!(wrap("x abcd你", 5), ["x", "abcd", "你"]);
        assert_eq!(wrap("a verylongword", 6), ["a", "verylo", "ngword"]);
        assert_eq!(wrap("ab  cd\n ef", 2), ["ab", "cd", " e", "f"]);
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
