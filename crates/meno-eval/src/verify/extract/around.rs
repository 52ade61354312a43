//! Analyses the text around a box. `-\boxed{5}`, `\boxed{5}^2` and `(\boxed{5}, 3)` have other values than the box; a
//! unit next to it belongs to the answer.
//!
//! In its formula (or on its line, outside formulas) a box must be a whole side. Before it may be a relation like `=`,
//! a colon or words; after it punctuation, a unit, or words that keep the value.

mod after;
mod before;
mod tex;

use super::text::{head_of, tail_of};
use after::unit_after;
use before::{RELATIONS, formula_before, group_at_end, is_operator, prose_before};
use tex::{FONTS, command_at_end, trim_spacing_end, trim_spacing_start};

/// How much text on each side of a box is analysed, in bytes.
const WINDOW: usize = 2000;

/// Text outside a box that belongs to its value.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Affixes {
    /// A currency before the box.
    pub(super) before: String,
    /// A unit after the box.
    pub(super) after: String,
}

/// The affixes of the box between two texts. `None` if the box is only part of a value.
pub(super) fn affixes(before: &str, after: &str) -> Option<Affixes> {
    let mut before = tail_of(before, WINDOW);
    let mut after = head_of(after, WINDOW);
    // Doubly escaped text contains `\\boxed` and `
    // `.
    before = before.strip_suffix('\\').unwrap_or(before);
    let mut found = Affixes::default();
    (before, after) = strip_enclosing(before, after)?;
    let place = BoxPosition::of(before, after);
    let mut side = place.side(before);
    for sign in ["\\$", "€", "£", "¥"] {
        if let Some(rest) = side.trim_end().strip_suffix(sign) {
            found.before = sign.to_owned();
            side = rest;
        }
    }
    if place.math {
        side = trim_spacing_end(side);
        balanced(side)?;
        if side.is_empty() {
            let outer = before[..place.start].trim_end_matches(['$', '[', '(', '\\']);
            prose_before(outer.rsplit('\n').next().unwrap_or(outer), after)?;
        } else {
            formula_before(side)?;
        }
    } else {
        prose_before(side, after)?;
    }
    found.after = unit_after(after, place.math, before)?;
    Some(found)
}

/// The affixes of the last of several boxes. `None` if one of them is only part of a value.
pub(super) fn affixes_of_list(text: &str, spans: &[(usize, usize)]) -> Option<Affixes> {
    for (index, &(start, end)) in spans.iter().enumerate() {
        let from = if index > 0 { spans[index - 1].1 } else { 0 };
        let to = spans.get(index + 1).map_or(text.len(), |next| next.0);
        let (before, after) = strip_enclosing(tail_of(&text[from..start], WINDOW), head_of(&text[end..to], WINDOW))?;
        let bullet = before.rsplit('\n').next().is_some_and(|line| line.trim_start() == "- ");
        if is_joined_by_operator(if bullet { "" } else { trim_spacing_end(before) }, trim_spacing_start(after)) {
            return None;
        }
    }
    let &(start, end) = spans.last()?;
    let (before, after) = (tail_of(&text[..start], WINDOW), head_of(&text[end..], WINDOW));
    let (before, after) = strip_enclosing(before, after)?;
    let unit = unit_after(after, BoxPosition::of(before, after).math, before)?;
    Some(Affixes { before: String::new(), after: unit })
}

/// True if an operator joins a box with its neighbours.
fn is_joined_by_operator(before: &str, after: &str) -> bool {
    let border = |c: char| matches!(c, '$' | '(' | '[');
    let left = if before.ends_with('$') || before.ends_with("\\(") || before.ends_with("\\[") {
        before.trim_end_matches(border).trim_end_matches('\\')
    } else {
        before
    };
    let command = command_at_end(left).is_some_and(|name| !RELATIONS.contains(&name));
    let sign = left.ends_with(|c: char| is_operator(c) && c != '>' || matches!(c, '-' | '/' | '^' | '_'));
    let name: String = after.strip_prefix('\\').unwrap_or("").chars().take_while(char::is_ascii_alphabetic).collect();
    let operators = ["cdot", "times", "div", "pm", "mp", "le", "leq", "ge", "geq", "ne", "neq", "pi", "sqrt", "frac"];
    command
        || sign
        || after.starts_with(['_', '/', '+'])
        || after.starts_with('^') && !["^\\circ", "^{\\circ}"].iter().any(|d| after.starts_with(d))
        || operators.contains(&name.as_str())
}

/// The position of a box.
struct BoxPosition {
    /// True if the box is in a formula.
    math: bool,
    /// Where the formula starts, or the text after the last formula.
    start: usize,
}

impl BoxPosition {
    fn of(before: &str, after: &str) -> BoxPosition {
        let from = before.rfind("\n\n").map_or(0, |at| at + 2);
        let bytes = before.as_bytes();
        let mut open: Option<&str> = None;
        let (mut start, mut at) = (from, from);
        while at < bytes.len() {
            let rest = &bytes[at..];
            let border = ["$$", "$", "\\(", "\\)", "\\[", "\\]", "\\begin{", "\\end{"]
                .into_iter()
                .find(|b| rest.starts_with(b.as_bytes()));
            let Some(border) = border else {
                at += if bytes[at] == b'\\' { 2 } else { 1 };
                continue;
            };
            at += border.len();
            // Skips the name of an environment.
            at += before[at..].find('}').filter(|len| border == "\\begin{" && *len < 20).map_or(0, |len| len + 1);
            open = match (border, open) {
                ("\\begin{", None) => Some("\\end{"),
                ("\\begin{" | "$" | "$$", Some(close)) if close != border => continue,
                ("$$" | "$", None) => Some(border),
                ("\\(", _) => Some("\\)"),
                ("\\[", _) => Some("\\]"),
                ("\\end{", Some(close)) if close != "\\end{" => continue,
                _ => None,
            };
            start = at;
        }
        let closes = open.is_some_and(|close| after.split("\n\n").next().unwrap_or(after).contains(close));
        // A box right after a delimiter is in a formula, even if dollar signs of prices precede it.
        let right_after = open.is_none() && before.ends_with('$') && !before.ends_with("\\$") && after.contains('$');
        let start = if right_after { before.len() } else { start.min(before.len()) };
        BoxPosition { math: closes || right_after, start }
    }

    /// The text before the box that belongs to the same formula row or line.
    fn side<'a>(&self, before: &'a str) -> &'a str {
        if self.math {
            let row = &before[self.start..];
            // A row of an environment starts after `\\`.
            let row = row.rsplit("\\\\").next().unwrap_or(row);
            return trim_spacing_end(row.trim_start());
        }
        before.rsplit('\n').next().unwrap_or(before)
    }
}

/// Removes font groups, brackets and markup directly around a box. `None` if a box is in the group of another command.
fn strip_enclosing<'a>(mut before: &'a str, mut after: &'a str) -> Option<(&'a str, &'a str)> {
    loop {
        let (left, right) = (trim_spacing_end(before), trim_spacing_start(after).trim_start());
        let last = left.chars().next_back();
        match last {
            Some('{') if !left.ends_with("\\{") => {
                let outer = left[..left.len() - 1].trim_end();
                // \color{blue}{…}
                let color = group_at_end(outer).filter(|(name, _)| matches!(*name, "color" | "textcolor"));
                let outer = color.map_or(outer, |(_, inner)| &outer[..outer.len() - inner.len() - 2]);
                let name = command_at_end(outer);
                let bare =
                    outer.len() < left.len() - 1 || outer.is_empty() || outer.ends_with(['$', '[', '(', '=', ':']);
                if !(name.is_some_and(|n| FONTS.contains(&n)) || name.is_none() && bare) {
                    return None;
                }
                before = &outer[..outer.len() - name.map_or(0, |n| n.len() + 1)];
                let dotted = right.trim_start_matches(['.', ',']).trim_start();
                after = dotted.strip_prefix('}').unwrap_or(right);
            }
            Some(open @ ('(' | '[')) if !left.ends_with(['\\']) && !left[..left.len() - 1].ends_with('\\') => {
                let close = if open == '(' { ')' } else { ']' };
                let outer = &left[..left.len() - 1];
                let Some(rest) = right.strip_prefix(close) else { return Some((before, after)) };
                if outer.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '}' | ')')) {
                    return None;
                }
                (before, after) = (outer, rest);
            }
            Some(mark @ ('*' | '_' | '`' | '"' | '“' | '\'')) => {
                let close = if mark == '“' { '”' } else { mark };
                let outer = left.trim_end_matches(mark);
                let Some(rest) = right.strip_prefix(close) else { return Some((before, after)) };
                (before, after) = (outer, rest.trim_start_matches(close));
            }
            _ => return Some((before, after)),
        }
    }
}

/// `Some` if no bracket or group is open at the end of this part of a formula. Brackets of any kind match each other,
/// as in half-open intervals.
fn balanced(text: &str) -> Option<()> {
    let (mut brackets, mut groups) = (0i32, Vec::new());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let escaped = bytes[at] == b'\\';
        let b = if escaped { bytes.get(at + 1).copied().unwrap_or(b' ') } else { bytes[at] };
        match b {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets = (brackets - 1).max(0),
            b'{' if escaped => brackets += 1,
            b'}' if escaped => brackets = (brackets - 1).max(0),
            b'{' => groups.push(command_at_end(&text[..at]).is_some_and(|n| FONTS.contains(&n))),
            b'}' => drop(groups.pop()),
            _ => {}
        }
        at += 1 + usize::from(escaped && b.is_ascii_punctuation());
    }
    (brackets == 0 && groups.into_iter().all(|font| font)).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(before: &str, after: &str) -> Option<String> {
        affixes(before, after).map(|found| found.before + "…" + &found.after)
    }

    #[test]
    fn a_box_that_is_a_whole_side_is_a_value() {
        for (before, after) in [
            ("$x = ", "$"),
            ("\\[ 2x = 10 \\implies ", ". \\]"),
            ("(Hence $x = ", "$.)"),
            ("\\mathbf{", "}"),
            ("I paid $5 and $6, so it is $", "$."),
            ("**Answer: ", "**"),
            ("- ", ""),
            ("The answer is ", " because 6 is too big"),
            ("$", " \\pmod{11}$"),
            ("\\[ [0, 1), \\quad n = ", "\\]"),
        ] {
            assert_eq!(units(before, after).as_deref(), Some("…"), "{before} {after}");
        }
        assert_eq!(units("It is $", "$ square centimeters.").as_deref(), Some("…\\text{ square centimeters}"));
        assert_eq!(units("$", "^\\circ$").as_deref(), Some("…^\\circ"));
        assert_eq!(units("\\$", "").as_deref(), Some("\\$…"));
    }

    #[test]
    fn a_box_that_is_part_of_a_value_is_rejected() {
        for (before, after) in [
            ("$-", "$"),
            ("-$", "$"),
            ("$\\frac{", "}{2}$"),
            ("$(", ", 3)$"),
            ("$f(", ")$"),
            ("$x \\ge ", "$"),
            ("at least $", "$"),
            ("$", "$ million"),
            ("$", "\\text{ or } 6$"),
            ("$", " = 2x$"),
            ("", ",000"),
            ("", "**2"),
            ("\\verb|", "|"),
        ] {
            assert_eq!(units(before, after), None, "{before} {after}");
        }
    }
}
