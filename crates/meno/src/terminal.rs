//! The terminal: lines redrawn in place, and the display of a thought: a few dimmed lines while it is
//! written, one line when it has ended.

mod folded_thought;
mod line;
mod live_region;
mod printable;
mod wrapping;

pub(crate) use folded_thought::FoldedThought;
pub(crate) use line::Line;
pub(crate) use live_region::LiveRegion;
pub(crate) use printable::printable;
pub(crate) use wrapping::{Wrapped, wrap};

use crossterm::style::{StyledContent, Stylize};
use std::io::{self, IsTerminal};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_that_only_prints_is_not_drawn_on() {
        assert!(is_capable(Some("xterm-256color")) && is_capable(Some("linux")));
        assert!(cfg!(windows) || [None, Some(""), Some("dumb")].into_iter().all(|term| !is_capable(term)));
    }
}
