//! Finds the formulas in a text.

use super::text::words;

/// The search ends after this many unclosed delimiters.
const MAX_OPEN: usize = 8;

/// A formula with its delimiters.
pub(super) struct Formula {
    /// Start and end, including the delimiters.
    pub(super) outer: (usize, usize),
}

/// The formulas of a text: `$…$`, `$$…$$`, `\(…\)`, `\[…\]`.
pub(super) fn formulas(text: &str) -> Vec<Formula> {
    let mut found = Vec::new();
    let (mut from, mut open_borders) = (0, 0);
    let bytes = text.as_bytes();
    while from < bytes.len() && open_borders < MAX_OPEN {
        let (open, close) = match bytes[from] {
            b'$' if bytes.get(from + 1) == Some(&b'$') => ("$$", "$$"),
            b'$' => ("$", "$"),
            b'\\' if bytes.get(from + 1) == Some(&b'(') => ("\\(", "\\)"),
            b'\\' if bytes.get(from + 1) == Some(&b'[') => ("\\[", "\\]"),
            b'\\' => {
                from += 2;
                continue;
            }
            _ => {
                from += 1;
                continue;
            }
        };
        let start = from + open.len();
        let Some(end) = closing(text, start, close) else {
            from = start;
            open_borders += 1;
            continue;
        };
        found.push(Formula { outer: (from, end + close.len()) });
        from = end + close.len();
    }
    found
}

/// The position of a formula's closing delimiter. An escaped dollar does not close; nor does a dollar after an empty
/// line.
fn closing(text: &str, start: usize, close: &str) -> Option<usize> {
    if start > text.len() || !text.is_char_boundary(start) {
        return None;
    }
    let mut from = start;
    // Formulas are short. The limit keeps the passes over the text linear.
    let limit = text.len().min(start + 4096);
    let window = text.as_bytes();
    while from + close.len() <= limit {
        if window[from] == b'\\' && close.starts_with('$') {
            from += 2;
            continue;
        }
        if window[from..].starts_with(close.as_bytes()) {
            return Some(from);
        }
        if window[from..].starts_with(b"\n\n") && close == "$" {
            return None;
        }
        from += 1;
    }
    None
}

/// True if the text between two formulas joins them to a list.
pub(super) fn is_list_joint(gap: &str) -> bool {
    gap.len() < 12 && words(gap).all(|w| matches!(w.as_str(), "and" | "or")) && !gap.contains(['.', '\n', '='])
}
