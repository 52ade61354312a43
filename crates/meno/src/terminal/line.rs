//! A line of styled text that knows its width in columns.

use crossterm::style::{StyledContent, Stylize};
use std::fmt;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Pieces of text, each with its style.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line(Vec<StyledContent<String>>);

impl Line {
    /// Adds plain text.
    pub(crate) fn plain(self, text: impl Into<String>) -> Line {
        self.push(text.into().stylize())
    }

    /// Adds dimmed text.
    pub(crate) fn dim(self, text: impl Into<String>) -> Line {
        self.push(text.into().dim())
    }

    /// Adds a styled piece.
    pub(crate) fn push(mut self, piece: StyledContent<String>) -> Line {
        self.0.push(piece);
        self
    }

    /// Appends another line's pieces.
    pub(crate) fn join(mut self, other: Line) -> Line {
        self.0.extend(other.0);
        self
    }

    /// The text without its styles.
    #[cfg(test)]
    pub(crate) fn text(&self) -> String {
        self.0.iter().map(|p| p.content().as_str()).collect()
    }

    /// Width in columns.
    pub(crate) fn width(&self) -> usize {
        self.0.iter().map(|p| p.content().width()).sum()
    }

    /// Truncates the line to at most `columns`.
    pub(crate) fn cut(self, columns: usize) -> Line {
        let mut left = columns;
        let mut pieces = Vec::new();
        for piece in self.0 {
            let mut text = String::new();
            for c in piece.content().chars() {
                let Some(rest) = left.checked_sub(c.width().unwrap_or(0)) else {
                    pieces.push(StyledContent::new(*piece.style(), text));
                    return Line(pieces);
                };
                left = rest;
                text.push(c);
            }
            pieces.push(StyledContent::new(*piece.style(), text));
        }
        Line(pieces)
    }

    /// Truncates or pads the line with blanks to exactly `columns`.
    pub(crate) fn fill(self, columns: usize) -> Line {
        let line = self.cut(columns);
        let missing = columns - line.width();
        line.plain(" ".repeat(missing))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // If colours are disabled, all style sequences are left out, including resets.
        let colors = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        self.0.iter().filter(|p| !p.content().is_empty()).try_for_each(|piece| {
            let mut style = *piece.style();
            style.foreground_color = style.foreground_color.filter(|_| colors);
            StyledContent::new(style, piece.content()).fmt(f)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_and_filled_by_columns() {
        let line = Line::default().plain("ab").dim("你好");
        assert_eq!(line.width(), 6);
        assert_eq!(line.clone().cut(5).text(), "ab你");
        assert_eq!(line.clone().fill(5).text(), "ab你 ");
        assert_eq!(line.clone().fill(7).text(), "ab你好 ");
        assert_eq!(line.cut(0).text(), "");
    }
}
