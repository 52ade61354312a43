//! A thought on a terminal: a few dimmed lines while it is written, one line when it has ended.

use super::line::Line;
use super::live_region::LiveRegion;
use super::printable::printable;
use super::wrapping::wrap;
use crossterm::queue;
use crossterm::style::{Attribute, Print, SetAttribute};
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Lines of a thought that are visible while it is written.
const LINES: usize = 6;
/// Time between two redraws.
const FRAME: Duration = Duration::from_millis(50);

/// A thought while it is written: its last lines, redrawn in place.
pub(crate) struct FoldedThought<W: Write> {
    out: W,
    width: usize,
    text: String,
    shown: LiveRegion,
    drawn: Option<Instant>,
    start: Instant,
    /// Tokens so far.
    pub tokens: usize,
    /// Shows the last lines if true, otherwise only that there is a thought.
    pub lines: bool,
}

impl<W: Write> FoldedThought<W> {
    /// An empty thought on a terminal of `width` columns.
    pub(crate) fn new(out: W, width: usize, lines: bool) -> FoldedThought<W> {
        let start = Instant::now();
        FoldedThought {
            out,
            width: width.max(20),
            text: String::new(),
            shown: LiveRegion::default(),
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
    fn a_thought_ends_in_one_line_and_erases_exactly_what_it_drew() {
        let mut out = Vec::new();
        let mut fold = FoldedThought::new(&mut out, 24, true);
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
