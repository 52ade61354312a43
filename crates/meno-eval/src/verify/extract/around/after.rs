//! The text after a box: a unit that belongs to its value, punctuation, words that keep the value.

use super::before::is_operator;
use super::tex::{FONTS, trim_spacing_start};
use crate::verify::extract::text::head_of;
use crate::verify::math::reading;

/// Words after an amount that change the amount.
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

/// TeX commands after a value that print nothing of it, or state how it was found.
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

/// The unit after a box, if any. `None` if the following text changes the value.
pub(super) fn unit_after(after: &str, mut math: bool, before: &str) -> Option<String> {
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
                // If the formula continues, the box is not a whole side, unless words separate them.
                return unit_after(rest.trim_start_matches('$'), true, before).map(|_| unit);
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

/// True if a bracket after a value holds words or `mod n`.
fn mod_or_words(inner: &str) -> bool {
    ["mod", "\\mod", "\\bmod", "\\text", "\\mathrm", "\\operatorname{mod"]
        .iter()
        .any(|p| inner.trim_start().starts_with(p))
}

/// True if an expression after a value has no unknown: `= 0.5`.
fn is_constant(side: &str) -> bool {
    let end = side.find(['\n', '$', ',', ';', '&']).unwrap_or(side.len());
    let side = side[..end].split("\\)").next().unwrap_or_default().split("\\]").next().unwrap_or_default();
    let mut command = false;
    side.chars().all(|c| {
        command = c == '\\' || command && c.is_ascii_alphabetic();
        command || !c.is_alphabetic()
    })
}

/// The effect of a command after a value.
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

/// True if words after a value do not change it.
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

/// The unit at the start of a text, in the form that belongs to a value, and the rest of the text.
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
        if !(name.starts_with(char::is_alphabetic) && reading::is_unit(name)) {
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
        !name.is_empty() && name.chars().next().is_some_and(char::is_alphabetic) && reading::is_unit(name)
    })?;
    let single = run[..at].trim().chars().count() == 1;
    let lone = single && (math || touches);
    (!lone).then(|| Some((unit_text(run[..at].trim())?, &text[at..])))?
}

/// A unit in the form that the math reader expects after a number.
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
