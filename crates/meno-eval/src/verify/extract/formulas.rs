//! The formulas of a text.

use super::text::words;

/// How many borders of formulas may stay open before the search for formulas ends.
const MAX_OPEN: usize = 8;

/// A formula between its borders.
pub(super) struct Formula {
    /// Where it starts and ends, borders included.
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

/// Where a formula's border closes: an escaped dollar does not, nor does a dollar after an empty line.
fn closing(text: &str, start: usize, close: &str) -> Option<usize> {
    if start > text.len() || !text.is_char_boundary(start) {
        return None;
    }
    let mut from = start;
    // A formula is short: the search for its end must not make the passes over the text quadratic.
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

/// Whether what stands between two formulas makes a list of them.
pub(super) fn is_list_joint(gap: &str) -> bool {
    gap.len() < 12 && words(gap).all(|w| matches!(w.as_str(), "and" | "or")) && !gap.contains(['.', '\n', '='])
}
