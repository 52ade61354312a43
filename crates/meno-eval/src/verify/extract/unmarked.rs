//! Answers without a mark: the whole response, its last formula, its last number.

use super::denial::{denied_before, doubted_before, has_denial_or_doubt, retracted};
use super::prose::{reads_more, sentence_end};
use super::{Extracted, strip, tail, words};
use crate::verify::math;
use std::borrow::Cow;

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

/// An answer without a mark.
pub(super) fn unmarked(text: &str) -> Option<Extracted> {
    let text = tail(text);
    let text = text.split("<|").next().unwrap_or(text).trim();
    let text = text.trim_end_matches("I hope it is correct.").trim_end();
    let prose = outside_code(text);
    let text = prose.trim();
    let whole = strip(text);
    let short = whole.len() <= 400 && !whole.contains("\n\n");
    if short && math::reads(whole) {
        return Some(Extracted::plain(whole));
    }
    if let Some(word) = reasoned_word(whole) {
        return Some(Extracted::plain(word));
    }
    if let Some(answer) = last_formula(text) {
        return Some(Extracted::plain(&answer));
    }
    if let Some(answer) = last_number(text) {
        return Some(Extracted::plain(answer));
    }
    // Plain words, if there are few.
    (short && !whole.contains(['.', '\n', '?']) && whole.split_whitespace().count() <= 8)
        .then(|| Extracted::plain(whole))
}

/// A text without its fenced blocks of code, which hold no answer.
fn outside_code(text: &str) -> Cow<'_, str> {
    if !text.contains("```") {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.split("```").step_by(2).collect::<Vec<_>>().join("\n"))
}

/// "Yes, because 5 is prime": the one word that a sentence gives a reason for.
fn reasoned_word(text: &str) -> Option<&str> {
    let len = text.find(|c: char| !c.is_ascii_alphabetic())?;
    let (word, rest) = text.split_at(len);
    let says = ["yes", "no", "true", "false"].iter().any(|w| word.eq_ignore_ascii_case(w));
    let reason = words(rest).next().is_some_and(|w| matches!(w.as_str(), "because" | "since" | "as" | "for"));
    let one = text.len() < 300 && !text.contains("\n") && sentence_end(text) + 1 >= text.len();
    (says && reason && one).then_some(word)
}

/// Whether a sentence ends within a condition, so that a value there is given and not found: "7 solutions for n = 10".
fn is_conditional(sentence: &str) -> bool {
    let clause = sentence.rsplit([',', ';', ':']).next().unwrap_or(sentence);
    let starts = ["for", "when", "whenever", "if", "where", "given", "assuming", "suppose", "unless", "let"];
    let says = [
        "is", "are", "equals", "equal", "get", "gets", "gives", "give", "have", "has", "was", "were", "makes", "then",
        "yields", "becomes", "costs", "takes", "need", "needs", "obtain", "find",
    ];
    let words: Vec<String> = words(clause).collect();
    words.iter().rposition(|w| starts.contains(&w.as_str())).is_some_and(|at| {
        // "When n is 10" has its verb within the condition.
        let verbs = words[at + 1..].iter().filter(|w| says.contains(&w.as_str())).count();
        let within =
            matches!(words[at].as_str(), "when" | "whenever" | "if" | "where" | "given" | "assuming" | "suppose");
        let own = within && words[at + 1..].iter().take(3).any(|w| matches!(w.as_str(), "is" | "equals" | "are"));
        verbs <= usize::from(own)
    })
}

/// Words of a sentence that gives no answer.
pub(super) fn is_unsure(sentence: &str) -> bool {
    let open = |w: &str| matches!(w, "between" | "or" | "least" | "most" | "more" | "less" | "fewer" | "but");
    has_denial_or_doubt(sentence) || words(sentence).any(|w| open(&w)) || sentence.trim_end().ends_with('?')
}

/// The last formula near the end of a text, with its neighbours of a list and its unit.
fn last_formula(text: &str) -> Option<String> {
    let formulas = formulas(text);
    let last = formulas.last()?;
    let after = &text[last.outer.1..];
    let mut first = formulas.len() - 1;
    while first > 0 && is_list_joint(&text[formulas[first - 1].outer.1..formulas[first].outer.0]) {
        first -= 1;
    }
    let before = &text[..formulas[first].outer.0];
    let sentence = before.rsplit(['\n']).next().unwrap_or(before).rsplit(". ").next().unwrap_or(before);
    let numbered = after.contains(|c: char| c.is_ascii_digit());
    let governed = denied_before(before) || doubted_before(before);
    if after.len() > 120
        || numbered
        || governed
        || is_unsure(sentence)
        || is_unsure(after)
        || retracted(after)
        || is_conditional(sentence)
    {
        return None;
    }
    let end = last.outer.1 + sentence_end(after);
    let clause = strip(&text[last.outer.1..end]);
    let end = if !clause.is_empty() && reads_more(clause) { end } else { last.outer.1 };
    Some(strip(&text[formulas[first].outer.0..end]).to_owned())
}

/// The last number of a text, in its last sentence or near its end: not one of several, not part of a word.
fn last_number(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let end = text.rfind(|c: char| c.is_ascii_digit())? + 1;
    let part = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b',' | b'/');
    let mut start = end;
    while start > 0 && part(bytes[start - 1]) {
        start -= 1;
    }
    while start < end && !bytes[start].is_ascii_digit() && bytes[start] != b'.' {
        start += 1;
    }
    let before = &text[..start];
    let sign = before.ends_with('-') && !before[..start - 1].ends_with(|c: char| c.is_alphanumeric() || c == ')');
    let glued =
        before.ends_with(|c: char| c.is_alphabetic() || math::is_invisible(c) || matches!(c, '^' | '_' | '{' | '\\'));
    let sentence = before.rsplit(['\n', '?', '!']).next().unwrap_or(before);
    let sentence = sentence.rsplit(". ").next().unwrap_or(sentence);
    let listed = words(sentence).last().is_some_and(|w| matches!(w.as_str(), "or" | "and" | "to" | "than"))
        && before.trim_end().ends_with(|c: char| c.is_alphabetic());
    let after = &text[end..];
    // Units may follow: a percent sign, a currency, letters.
    let unsure =
        after.len() > 120 || is_unsure(after) || is_doubtful(sentence) || retracted(after) || is_conditional(sentence);
    if glued || listed || unsure || denied_before(before) || doubted_before(before) {
        return None;
    }
    let percent = after.trim_start();
    let end = if percent.starts_with('%') { end + after.len() - percent.len() + 1 } else { end };
    let word = ["percent", "pct"].into_iter().find(|w| percent.starts_with(w));
    let end = word.map_or(end, |w| end + after.len() - percent.len() + w.len());
    Some(&text[start - usize::from(sign)..end])
}

/// As [`is_unsure`], but "not 10, it is 12" is sure of 12.
fn is_doubtful(sentence: &str) -> bool {
    let last = sentence.rsplit(|c: char| c.is_ascii_digit()).next().unwrap_or(sentence);
    is_unsure(last)
}
