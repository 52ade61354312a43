//! What touches a box: `-\boxed{5}`, `\boxed{5}^2` and `(\boxed{5}, 3)` are other values than the box; a unit beside it
//! belongs to the answer.
//!
//! In its formula, or on its line if there is none, a box must be a whole side: a relation like `=`, a colon or words
//! stand before it; punctuation, a unit or words that keep the value stand after it.

use super::tail_of;
use crate::verify::math;

/// How much text around a box is looked at, in bytes.
const WINDOW: usize = 2000;

/// What belongs to the value of a box.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Affixes {
    /// A currency before it.
    pub(super) before: String,
    /// A unit after it.
    pub(super) after: String,
}

/// What belongs to the value of the box between two texts. `None` if the box is only part of a value.
pub(super) fn affixes(before: &str, after: &str) -> Option<Affixes> {
    let mut before = tail_of(before, WINDOW);
    let mut after = head_of(after, WINDOW);
    // Text that was escaped twice has `\\boxed` and `\n`.
    before = before.strip_suffix('\\').unwrap_or(before);
    let mut found = Affixes::default();
    (before, after) = unwrap(before, after)?;
    let place = Place::of(before, after);
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
    found.after = follows(after, place.math, before)?;
    Some(found)
}

/// What belongs to the value of the last of several boxes. `None` if one is part of a value.
pub(super) fn affixes_of_list(text: &str, spans: &[(usize, usize)]) -> Option<Affixes> {
    for (index, &(start, end)) in spans.iter().enumerate() {
        let from = if index > 0 { spans[index - 1].1 } else { 0 };
        let to = spans.get(index + 1).map_or(text.len(), |next| next.0);
        let (before, after) = unwrap(tail_of(&text[from..start], WINDOW), head_of(&text[end..to], WINDOW))?;
        let bullet = before.rsplit('\n').next().is_some_and(|line| line.trim_start() == "- ");
        if is_touched(if bullet { "" } else { trim_spacing_end(before) }, trim_spacing_start(after)) {
            return None;
        }
    }
    let &(start, end) = spans.last()?;
    let (before, after) = (tail_of(&text[..start], WINDOW), head_of(&text[end..], WINDOW));
    let (before, after) = unwrap(before, after)?;
    let unit = follows(after, Place::of(before, after).math, before)?;
    Some(Affixes { before: String::new(), after: unit })
}

/// Whether an operator joins a box with what is beside it.
fn is_touched(before: &str, after: &str) -> bool {
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

/// Where a box stands.
struct Place {
    /// Whether in a formula.
    math: bool,
    /// Where the formula or the text after the last formula starts.
    start: usize,
}

impl Place {
    fn of(before: &str, after: &str) -> Place {
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
            // The name of an environment.
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
        // A box right after a border is in a formula, whatever dollars of prices stand before it.
        let right_after = open.is_none() && before.ends_with('$') && !before.ends_with("\\$") && after.contains('$');
        let start = if right_after { before.len() } else { start.min(before.len()) };
        Place { math: closes || right_after, start }
    }

    /// The text before the box that stands with it.
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

fn head_of(text: &str, len: usize) -> &str {
    let mut to = text.len().min(len);
    while !text.is_char_boundary(to) {
        to -= 1;
    }
    &text[..to]
}

/// Spaces of TeX.
const SPACING: [&str; 12] = [
    "\\,",
    "\\;",
    "\\:",
    "\\!",
    "\\ ",
    "\\quad",
    "\\qquad",
    "~",
    "\\displaystyle",
    "\\textstyle",
    "\\large",
    "\\Large",
];

fn trim_spacing_end(mut text: &str) -> &str {
    loop {
        let next = text.trim_end_matches([' ', '\t', '\r', '\n', '&']);
        let next = if next.len() < text.len() { next.strip_suffix('\\').unwrap_or(next) } else { next };
        let next = SPACING.iter().find_map(|s| next.strip_suffix(s)).unwrap_or(next);
        if next.len() == text.len() {
            return text;
        }
        text = next;
    }
}

/// Without line ends, which end a sentence.
fn trim_spacing_start(mut text: &str) -> &str {
    loop {
        let next = text.trim_start_matches([' ', '\t', '\r', '&']);
        let next = SPACING.iter().find_map(|s| next.strip_prefix(s)).unwrap_or(next);
        if next.len() == text.len() {
            return text;
        }
        text = next;
    }
}

/// Commands whose group keeps the value of what it holds.
const FONTS: [&str; 29] = [
    "large",
    "Large",
    "LARGE",
    "huge",
    "Huge",
    "displaystyle",
    "centerline",
    "text",
    "textbf",
    "textit",
    "textrm",
    "textsf",
    "textnormal",
    "mbox",
    "hbox",
    "mathbf",
    "mathrm",
    "mathsf",
    "mathit",
    "bm",
    "boldsymbol",
    "underline",
    "emph",
    "mathbb",
    "framebox",
    "bold",
    "textcolor",
    "color",
    "ensuremath",
];

/// Without groups of fonts, brackets and markup right around a box. `None` if a box is in another command's group.
fn unwrap<'a>(mut before: &'a str, mut after: &'a str) -> Option<(&'a str, &'a str)> {
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

/// The name of the command that ends a text.
fn command_at_end(text: &str) -> Option<&str> {
    let name = text.len() - text.bytes().rev().take_while(u8::is_ascii_alphabetic).count();
    (name < text.len() && text[..name].ends_with('\\')).then(|| &text[name..])
}

/// Whether no bracket or group is open at the end of a formula's part. Half-open intervals mix their brackets.
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

/// Commands after which a new side starts.
const RELATIONS: [&str; 27] = [
    "n",
    "implies",
    "Rightarrow",
    "Longrightarrow",
    "rightarrow",
    "longrightarrow",
    "to",
    "therefore",
    "approx",
    "equiv",
    "cong",
    "colon",
    "in",
    "iff",
    "Leftrightarrow",
    "Longleftrightarrow",
    "simeq",
    "triangleq",
    "coloneqq",
    "doteq",
    "hline",
    "newline",
    "item",
    "par",
    "noindent",
    "bf",
    "rm",
];

/// Whether a formula lets a box after it be a whole side.
fn formula_before(side: &str) -> Option<()> {
    if let Some(name) = command_at_end(side) {
        return RELATIONS.contains(&name).then_some(());
    }
    let last = side.chars().next_back()?;
    let rest = &side[..side.len() - last.len_utf8()];
    let fits = match last {
        '=' => !rest.ends_with(['!', '<', '>', '/']) && !rest.ends_with("\\not"),
        '≈' | '→' | '⇒' | '∴' | '≡' | '∈' => true,
        '>' => rest.ends_with(['=', '-']),
        ':' | '：' => !rest.trim_end().ends_with(|c: char| c.is_ascii_digit() || c == '}' && !ends_with_words(rest)),
        ',' | ';' => rest.contains('=') || ends_with_words(rest),
        '.' => !rest.ends_with(|c: char| c.is_ascii_digit()) || side.len() < 3,
        '}' => ends_with_words(side) || ends_with_mark(side),
        c if c.is_alphabetic() => word_before(side, true),
        _ => false,
    };
    fits.then_some(())
}

/// The group that ends a text: its command, what it holds.
fn group_at_end(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_suffix('}')?;
    let open = inner.rfind('{')?;
    Some((command_at_end(&inner[..open])?, &inner[open + 1..]))
}

/// Whether a text ends with `\text{words}`, and the words keep the value.
fn ends_with_words(text: &str) -> bool {
    let text = trim_spacing_end(text);
    group_at_end(text).is_some_and(|(name, inner)| {
        FONTS.contains(&name) && prose_before(&format!("{} ", trim_spacing_end(inner)), "").is_some()
    })
}

/// Whether a text ends with a command that shows nothing of a value.
fn ends_with_mark(text: &str) -> bool {
    let marks = ["begin", "end", "hspace", "vspace", "label", "tag", "color", "section", "subsection", "phantom"];
    group_at_end(text).is_some_and(|(name, _)| marks.contains(&name))
}

/// Words before an amount that make another amount of it.
const CHANGES_BEFORE: [&str; 28] = [
    "least",
    "most",
    "than",
    "over",
    "above",
    "below",
    "under",
    "minus",
    "negative",
    "plus",
    "half",
    "twice",
    "thrice",
    "log",
    "ln",
    "sin",
    "cos",
    "tan",
    "sqrt",
    "exp",
    "exceeds",
    "exceeding",
    "times",
    "within",
    "up",
    "beyond",
    "outside",
    "opposite",
];

/// Whether the word that ends a text lets a box after it be a whole value.
fn word_before(text: &str, math: bool) -> bool {
    let start = text
        .rfind(|c: char| !c.is_alphabetic())
        .map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8));
    let word = text[start..].to_lowercase();
    let before = text[..start].trim_end();
    if CHANGES_BEFORE.contains(&word.as_str()) || word == "to" && before.to_lowercase().ends_with(" up") {
        return false;
    }
    // "6 or 5" is a guess; "1/5, or 20 percent" says one value in two ways.
    if word == "or" {
        return !before.ends_with(|c: char| c.is_ascii_digit() || matches!(c, '}' | '$' | ')'));
    }
    let short = ["is", "so", "to", "of", "be", "by", "at", "in", "are", "as", "an", "we", "if", "on"];
    !word.is_ascii() || word.len() >= 3 || short.contains(&word.as_str()) || !math
}

/// Whether prose lets a box after it be a whole value.
fn prose_before(side: &str, after: &str) -> Option<()> {
    let text = trim_spacing_end(side);
    let touches = text.len() == side.len() && !side.is_empty();
    if command_at_end(text).is_some() {
        return formula_before(text);
    }
    let Some(last) = text.chars().next_back() else { return Some(()) };
    let rest = &text[..text.len() - last.len_utf8()];
    // "(3, " opens a pair, "(so " a remark.
    let opened = text.rfind(['(', '[']).map(|at| &text[at + 1..]).filter(|inner| !inner.contains([')', ']']));
    if opened.is_some_and(|inner| !inner.split(|c: char| !c.is_alphabetic()).any(|w| w.chars().count() > 1)) {
        return None;
    }
    let line_start = rest.trim().is_empty();
    let word = rest.trim_end().ends_with(|c: char| c.is_alphabetic() || c == '*');
    let fits = match last {
        '-' | '–' | '—' => !touches && (line_start || word && rest.ends_with(' ')) || rest.ends_with('-'),
        '*' => line_start || rest.ends_with('*'),
        '+' => !touches && line_start,
        '>' => line_start || rest.ends_with(['=', '-', '|']) || rest.contains('<'),
        '_' | '^' | '/' | '<' | '\\' | '(' | '[' | '{' => false,
        '|' => after.contains('|') && rest.contains('|'),
        '$' => !rest.ends_with(|c: char| is_operator(c) || matches!(c, '-' | '*' | '/' | '<' | '>' | '^' | '\\')),
        ')' | ']' => !touches || rest.ends_with('\\'),
        ':' | '：' if !touches => true,
        '=' | '}' | ',' | ';' | ':' | '：' => {
            formula_before(text).is_some()
                || matches!(last, ',' | ';')
                || last == '}' && !touches && !rest.contains(['^', '\\'])
        }
        '.' => !touches || !rest.ends_with(|c: char| c.is_ascii_digit()),
        c if c.is_alphabetic() => word_before(text, touches),
        c if c.is_ascii_digit() => false,
        c => !is_operator(c),
    };
    fits.then_some(())
}

fn is_operator(c: char) -> bool {
    "×÷·⋅±∓−√∛∜∞≤≥≠<>²³¹½⅓¼¾′∉¬∑∏∫+".contains(c) || ('⁰'..='ⁿ').contains(&c) || ('α'..='ω').contains(&c)
}

/// Words after an amount that make another amount of it.
const CHANGES_AFTER: [&str; 21] = [
    "million",
    "millions",
    "billion",
    "billions",
    "trillion",
    "trillions",
    "thousand",
    "thousands",
    "hundred",
    "hundreds",
    "dozen",
    "dozens",
    "plus",
    "minus",
    "times",
    "squared",
    "cubed",
    "factorial",
    "divided",
    "multiplied",
    "base",
];

/// Signs of TeX after a value that show nothing of it, or say how it was found.
const CLOSES: [&str; 22] = [
    "tag",
    "label",
    "qed",
    "square",
    "blacksquare",
    "Box",
    "checkmark",
    "hfill",
    "end",
    "pmod",
    "bmod",
    "mod",
    "pod",
    "implies",
    "Rightarrow",
    "Longrightarrow",
    "blacktriangle",
    "hspace",
    "vspace",
    "newline",
    "nonumber",
    "notag",
];

/// The unit after a box, if any. `None` if what follows changes its value.
fn follows(after: &str, mut math: bool, before: &str) -> Option<String> {
    let mut text = after;
    let mut unit = String::new();
    let mut touches = true;
    loop {
        let next = trim_spacing_start(text);
        touches &= next.len() == text.len();
        text = if math { next.trim_start() } else { next };
        let Some(first) = text.chars().next() else { return Some(unit) };
        let rest = &text[first.len_utf8()..];
        if let Some(end) = ["\\)", "\\]", "$$", "$"].iter().find_map(|b| text.strip_prefix(b)).filter(|_| math) {
            (text, math, touches) = (end, false, true);
            continue;
        }
        if let Some((found, rest)) = unit_at_start(text, math, touches).filter(|_| unit.is_empty()) {
            (unit, text) = (found, rest);
            touches = false;
            continue;
        }
        let then = rest.trim_start_matches([' ', '\t']);
        let number = |t: &str| t.starts_with(|c: char| c.is_ascii_digit());
        match first {
            '\n' => return Some(unit),
            '\\' if text.starts_with("\\\\") || text.starts_with("\\)") || text.starts_with("\\]") => {
                return Some(unit);
            }
            '\\' => return command_after(text, unit, math),
            '$' => {
                // A formula that goes on is no side of its own, unless words stand between.
                return follows(rest.trim_start_matches('$'), true, before).map(|_| unit);
            }
            '*' | '`' | '"' | '”' | '_' => {
                let bare = rest.trim_start_matches(first);
                if bare.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '{' | '\\' | '('))
                    || first == '*' && number(bare.trim_start())
                {
                    return None;
                }
                text = bare;
            }
            '}' => text = rest,
            ')' | ']' => return (!math).then_some(unit),
            '=' | '≈' => return is_constant(rest).then_some(unit),
            '.' | ',' if number(rest) => return None,
            ',' if math && (number(then) || then.starts_with(['-', '('])) => return None,
            ':' if number(then) || math && !then.starts_with(['\\', '$']) => return None,
            '!' | '\'' if math => return None,
            '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '。' | '，' | '、' | '；' | '：' | '！' => {
                return Some(unit);
            }
            '-' | '–' | '—' => {
                let word = then.starts_with(|c: char| c.is_alphabetic())
                    && then.chars().nth(1).is_some_and(char::is_alphabetic);
                return (!math && word).then_some(unit);
            }
            '<' => {
                return rest
                    .starts_with(|c: char| matches!(c, '|' | '/' | '!') || c.is_ascii_alphabetic())
                    .then_some(unit);
            }
            '|' => return (!math && before.contains('|')).then_some(unit),
            '(' | '[' => return (!math && !touches || mod_or_words(rest)).then_some(unit),
            c if c.is_alphabetic() => return words_after(text, math, touches).then_some(unit),
            c if c.is_ascii() || is_operator(c) => return None,
            _ => return Some(unit),
        }
    }
}

/// Whether a bracket after a value holds words.
fn mod_or_words(inner: &str) -> bool {
    ["mod", "\\mod", "\\bmod", "\\text", "\\mathrm", "\\operatorname{mod"]
        .iter()
        .any(|p| inner.trim_start().starts_with(p))
}

/// Whether a side after a value has no unknown: `= 0.5`.
fn is_constant(side: &str) -> bool {
    let end = side.find(['\n', '$', ',', ';', '&']).unwrap_or(side.len());
    let side = side[..end].split("\\)").next().unwrap_or_default().split("\\]").next().unwrap_or_default();
    let mut command = false;
    side.chars().all(|c| {
        command = c == '\\' || command && c.is_ascii_alphabetic();
        command || !c.is_alphabetic()
    })
}

/// What a command after a value makes of it.
fn command_after(text: &str, unit: String, math: bool) -> Option<String> {
    let len = text[1..].bytes().take_while(u8::is_ascii_alphabetic).count();
    let (name, rest) = (&text[1..1 + len], &text[1 + len..]);
    if CLOSES.contains(&name) {
        return Some(unit);
    }
    if matches!(name, "approx" | "simeq") {
        return is_constant(rest).then_some(unit);
    }
    let inner = FONTS.contains(&name).then(|| rest.trim_start().strip_prefix('{'))??;
    let inner = &inner[..inner.find('}')?];
    let inner = inner.trim();
    let fits = match inner.chars().next() {
        None => true,
        Some(c) if c.is_alphabetic() => words_after(inner, false, false) && (!math || inner.len() > 1),
        Some(c) => matches!(c, '.' | ',' | ';' | '(' | ':'),
    };
    fits.then_some(unit)
}

/// Whether words after a value keep it.
fn words_after(text: &str, math: bool, touches: bool) -> bool {
    let mut words = text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '.' | ';')).filter(|w| !w.is_empty());
    let first = words.next().unwrap_or_default();
    let word = first.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default().to_lowercase();
    let second = words.next().unwrap_or_default().to_lowercase();
    let third = words.next().unwrap_or_default().to_lowercase();
    if text.starts_with(['或', '万', '亿']) {
        return false;
    }
    if !word.is_ascii() {
        return !is_operator(word.chars().next().unwrap_or('x'));
    }
    let amount = |w: &str| w.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '$' | '\\' | '-'));
    if CHANGES_AFTER.contains(&word.as_str())
        || CHANGES_AFTER[..CHANGES_AFTER.len() - 1].contains(&second.as_str()) && !amount(&third)
        || word == "in" && second == "base"
        || matches!(word.as_str(), "and" | "to" | "through") && amount(&second)
        || matches!(word.as_str(), "more" | "less" | "fewer" | "greater") && second == "than"
    {
        return false;
    }
    if word == "or" {
        return matches!(
            second.as_str(),
            "equivalently" | "approximately" | "about" | "simply" | "$\\boxed" | "\\(\\boxed"
        );
    }
    if math {
        return ["mod", "is", "for", "and", "where", "if", "units", "because", "since"].contains(&word.as_str());
    }
    word.len() >= if touches { 3 } else { 2 } || !touches && (word == "a" || word == "i")
}

/// The unit that starts a text, as it belongs to a value, and the rest.
fn unit_at_start(text: &str, math: bool, touches: bool) -> Option<(String, &str)> {
    for sign in ["\\%", "%", "\\text{\\%}", "\\text{%}"] {
        if let Some(rest) = text.strip_prefix(sign) {
            return Some(("\\%".to_owned(), rest));
        }
    }
    for sign in ["^\\circ", "^{\\circ}", "^ \\circ", "°", "\\degree", "^\\degree"] {
        if let Some(rest) = text.strip_prefix(sign) {
            return Some(("^\\circ".to_owned(), rest));
        }
    }
    if let Some(command) = text.strip_prefix('\\') {
        let len = command.bytes().take_while(u8::is_ascii_alphabetic).count();
        let inner = command[len..].trim_start().strip_prefix('{')?;
        let close = inner.find('}').filter(|_| FONTS.contains(&&command[..len]))?;
        let (name, rest) = (inner[..close].trim(), &inner[close + 1..]);
        if !(name.starts_with(char::is_alphabetic) && math::is_unit(name)) {
            return None;
        }
        let power = ["^2", "^3", "^{2}", "^{3}"].into_iter().find(|p| rest.starts_with(p)).unwrap_or_default();
        return Some((unit_text(&format!("{name}{power}"))?, &rest[power.len()..]));
    }
    // The longest run of words that is a unit: "square centimeters".
    let end = text.find(|c: char| !(c.is_alphabetic() || matches!(c, ' ' | '/' | '^' | '²' | '³' | '2' | '3')));
    let run = head_of(&text[..end.unwrap_or(text.len())], 60);
    let mut ends: Vec<usize> = run.match_indices(' ').map(|(at, _)| at).take(4).collect();
    if run.split(' ').count() <= 5 {
        ends.push(run.len());
    }
    let at = ends.into_iter().rev().find(|&at| {
        let name = &run[..at];
        !name.is_empty() && name.chars().next().is_some_and(char::is_alphabetic) && math::is_unit(name)
    })?;
    let single = run[..at].trim().chars().count() == 1;
    let lone = single && (math || touches);
    (!lone).then(|| Some((unit_text(run[..at].trim())?, &text[at..])))?
}

/// A unit as the math reader has it after a number.
fn unit_text(name: &str) -> Option<String> {
    let percent = matches!(name, "percent" | "pct" | "%" | "\\%");
    let degrees = matches!(name, "degrees" | "degree");
    Some(if percent {
        "\\%".to_owned()
    } else if degrees {
        "^\\circ".to_owned()
    } else {
        format!("\\text{{ {name}}}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(before: &str, after: &str) -> Option<String> {
        affixes(before, after).map(|found| found.before + "…" + &found.after)
    }

    #[test]
    fn a_whole_side_is_a_value() {
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
    fn a_part_is_no_value() {
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
