//! Lines that are drawn again and again in the same place, below whatever was printed before.

use crossterm::cursor::{MoveToColumn, MoveUp};
use crossterm::queue;
use crossterm::style::Print;
use crossterm::terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate};
use std::io::{self, Write};

/// The lines on the screen, by their widths in columns.
#[derive(Debug, Default)]
pub struct Redrawn {
    widths: Vec<usize>,
    columns: usize,
}

impl Redrawn {
    /// How wide the terminal was when they were drawn.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Draws `lines` (text and columns, each at most `columns`) over those of the last time.
    pub fn draw(&mut self, out: &mut impl Write, lines: &[(String, usize)], columns: usize) -> io::Result<()> {
        queue!(out, BeginSynchronizedUpdate)?;
        self.go_up(out, columns)?;
        for (line, _) in lines {
            queue!(out, Print(line), Clear(ClearType::UntilNewLine), Print("\r\n"))?;
        }
        queue!(out, Clear(ClearType::FromCursorDown), EndSynchronizedUpdate)?;
        self.widths = lines.iter().map(|l| l.1).collect();
        self.columns = columns;
        out.flush()
    }

    /// Takes the lines off the screen; the next draws anew.
    pub fn erase(&mut self, out: &mut impl Write, columns: usize) -> io::Result<()> {
        if !self.widths.is_empty() {
            self.go_up(out, columns)?;
            queue!(out, Clear(ClearType::FromCursorDown))?;
            self.widths.clear();
        }
        Ok(())
    }

    /// To the first line. A terminal that was made narrower since has broken the longer lines.
    fn go_up(&self, out: &mut impl Write, columns: usize) -> io::Result<()> {
        let rows: usize = self.widths.iter().map(|w| w.div_ceil(columns.max(1)).max(1)).sum();
        if rows > 0 {
            queue!(out, MoveUp(rows.min(u16::MAX as usize) as u16), MoveToColumn(0))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(redrawn: &mut Redrawn, lines: &[(String, usize)], columns: usize) -> String {
        let mut out = Vec::new();
        redrawn.draw(&mut out, lines, columns).unwrap();
        let text = String::from_utf8(out).unwrap();
        text.split("\x1b[")
            .find_map(|s| s.split_once('A').filter(|s| s.0.parse::<u16>().is_ok()))
            .map_or("", |s| s.0)
            .into()
    }

    #[test]
    fn it_goes_up_exactly_over_what_it_drew() {
        let mut redrawn = Redrawn::default();
        let lines = [("a".repeat(30), 30), (String::new(), 0)];
        assert_eq!(up(&mut redrawn, &lines, 40), "");
        assert_eq!(up(&mut redrawn, &lines[..1], 40), "2");
        assert_eq!(up(&mut redrawn, &lines, 40), "1");
        // Narrower now: the first line takes three rows.
        assert_eq!(up(&mut redrawn, &[], 14), "4");
        assert_eq!(up(&mut redrawn, &lines, 40), "");
    }
}
