//! Lines that are redrawn in the same place, below the earlier output.

use crossterm::cursor::{MoveToColumn, MoveUp};
use crossterm::queue;
use crossterm::style::Print;
use crossterm::terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate};
use std::io::{self, Write};

/// The lines on the screen, by their widths in columns.
///
/// A terminal that becomes narrower breaks lines that no longer fit and pushes lines without room off the
/// top. A terminal that grows again brings them back. Lines that went off the top are remembered, so that
/// they are erased when they come back.
#[derive(Debug, Default)]
pub(crate) struct LiveRegion {
    widths: Vec<usize>,
    /// Widths of lines that went off the top since they were drawn.
    above: Vec<usize>,
    size: (usize, usize),
}

impl LiveRegion {
    /// Columns and rows of the terminal at the last drawing.
    pub(crate) fn size(&self) -> (usize, usize) {
        self.size
    }

    /// Draws `lines` (text and width, at most the terminal's width) over the previous lines, on a terminal of
    /// `size` (columns and rows).
    pub(crate) fn draw(
        &mut self,
        out: &mut impl Write,
        lines: &[(String, usize)],
        size: (usize, usize),
    ) -> io::Result<()> {
        queue!(out, BeginSynchronizedUpdate)?;
        self.go_up(out, size)?;
        for (line, _) in lines {
            queue!(out, Print(line), Clear(ClearType::UntilNewLine), Print("\r\n"))?;
        }
        queue!(out, Clear(ClearType::FromCursorDown), EndSynchronizedUpdate)?;
        self.widths = lines.iter().map(|l| l.1).collect();
        self.size = size;
        out.flush()
    }

    /// Erases the lines; the next drawing starts from scratch.
    pub(crate) fn erase(&mut self, out: &mut impl Write, size: (usize, usize)) -> io::Result<()> {
        if !self.widths.is_empty() {
            self.go_up(out, size)?;
            queue!(out, Clear(ClearType::FromCursorDown))?;
            self.widths.clear();
        }
        // Text written now separates the lines from the ones scrolled off the top.
        self.above.clear();
        Ok(())
    }

    /// Moves the cursor to the first line.
    fn go_up(&mut self, out: &mut impl Write, (columns, rows): (usize, usize)) -> io::Result<()> {
        let columns = columns.max(1);
        // The cursor is in the line after the last one.
        let room = rows.saturating_sub(1).max(1);
        let height = |width: usize| width.div_ceil(columns).max(1);
        let own: usize = self.widths.iter().map(|w| height(*w)).sum();
        let mut up = own.min(room);
        if own > room {
            let mut lost = own - room;
            for width in &self.widths {
                let gone = height(*width).min(lost);
                lost -= gone;
                if gone > 0 {
                    self.above.push((gone * columns).min((*width).max(1)));
                }
            }
        } else if self.size != (columns, rows) {
            while let Some(width) = self.above.last() {
                let free = room - up;
                if height(*width) > free {
                    up = room;
                    break;
                }
                up += height(*width);
                self.above.pop();
            }
        }
        if up > 0 && own > 0 {
            queue!(out, MoveUp(up.min(u16::MAX as usize) as u16), MoveToColumn(0))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(region: &mut LiveRegion, lines: &[(String, usize)], size: (usize, usize)) -> String {
        let mut out = Vec::new();
        region.draw(&mut out, lines, size).unwrap();
        let text = String::from_utf8(out).unwrap();
        text.split("\x1b[")
            .find_map(|s| s.split_once('A').filter(|s| s.0.parse::<u16>().is_ok()))
            .map_or("", |s| s.0)
            .into()
    }

    #[test]
    fn it_goes_up_exactly_over_what_it_drew() {
        let mut region = LiveRegion::default();
        let lines = [("a".repeat(30), 30), (String::new(), 0)];
        assert_eq!(up(&mut region, &lines, (40, 24)), "");
        assert_eq!(up(&mut region, &lines[..1], (40, 24)), "2");
        assert_eq!(up(&mut region, &lines, (40, 24)), "1");
        // The terminal is narrower now: the first line takes three rows.
        assert_eq!(up(&mut region, &[], (14, 24)), "4");
        assert_eq!(up(&mut region, &lines, (40, 24)), "");
    }

    #[test]
    fn what_went_off_the_top_is_taken_away_when_it_comes_back() {
        let mut region = LiveRegion::default();
        let (wide, narrow): (Vec<_>, Vec<_>) =
            ((0..6).map(|_| (String::new(), 30)).collect(), vec![(String::new(), 9); 4]);
        up(&mut region, &wide, (31, 10));
        // Six lines of three rows each on nine rows: three lines went off the top.
        assert_eq!(up(&mut region, &narrow, (10, 10)), "9");
        // Nothing changed: the lines that went off are still gone.
        assert_eq!(up(&mut region, &narrow, (10, 10)), "4");
        // The terminal is wide again: the three lines are back above the four.
        assert_eq!(up(&mut region, &wide, (31, 10)), "7");
        assert_eq!(up(&mut region, &wide, (31, 10)), "6");
        // Text written in between is never erased.
        up(&mut region, &narrow, (10, 10));
        region.erase(&mut Vec::new(), (10, 10)).unwrap();
        up(&mut region, &narrow, (10, 10));
        assert_eq!(up(&mut region, &wide, (31, 10)), "4");
    }
}
