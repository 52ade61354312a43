//! Unmarked answers: the whole response, its last formula, its last number.

use super::denial::{denied_before, doubted_before, is_unsure, retracted};
use super::extracted::Extracted;
use super::formulas::{formulas, is_list_joint};
use super::prose::{reads_more, sentence_end};
use super::text::{strip, tail, words};
use crate::verify::math::reading;
use crate::verify::math::symbols::is_invisible;
use std::borrow::Cow;

/// The unmarked answer of a text.
pub(super) fn unmarked(text: &str) -> Option<Extracted> {
    let text = tail(text);
    let text = text.split("<|").next().unwrap_or(text).trim();
    let text = text.trim_end_matches("I hope it is correct.").trim_end();
    let prose = outside_code(text);
    let text = prose.trim();
    let whole = strip(text);
    let short = whole.len() <= 400 && !whole.contains("\n\n");
    if short && reading::reads(whole) {
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
    // A few plain words are an answer.
    (short && !whole.contains(['.', '\n', '?']) && whole.split_whitespace().count() <= 8)
        .then(|| Extracted::plain(whole))
}

/// A text without its fenced code blocks, which hold no answer.
fn outside_code(text: &str) -> Cow<'_, str> {
    if !text.contains("```") {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.split("```").step_by(2).collect::<Vec<_>>().join("\n"))
}

/// "Yes, because 5 is prime": the one word before a reason.
fn reasoned_word(text: &str) -> Option<&str> {
    let len = text.find(|c: char| !c.is_ascii_alphabetic())?;
    let (word, rest) = text.split_at(len);
    let says = ["yes", "no", "true", "false"].iter().any(|w| word.eq_ignore_ascii_case(w));
    let reason = words(rest).next().is_some_and(|w| matches!(w.as_str(), "because" | "since" | "as" | "for"));
    let one = text.len() < 300 && !text.contains("\n") && sentence_end(text) + 1 >= text.len();
    (says && reason && one).then_some(word)
}

/// True if a sentence ends within a condition, so that a value in it is given and not found: "7 solutions for n = 10".
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

/// The last formula near the end of a text, with the other formulas of its list and its unit.
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

/// The last number of a text, in its last sentence or near its end, if it is a single number and not part of a word.
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
    let glued = before.ends_with(|c: char| c.is_alphabetic() || is_invisible(c) || matches!(c, '^' | '_' | '{' | '\\'));
    let sentence = before.rsplit(['\n', '?', '!']).next().unwrap_or(before);
    let sentence = sentence.rsplit(". ").next().unwrap_or(sentence);
    let listed = words(sentence).last().is_some_and(|w| matches!(w.as_str(), "or" | "and" | "to" | "than"))
        && before.trim_end().ends_with(|c: char| c.is_alphabetic());
    let after = &text[end..];
    // A unit may follow: a percent sign, a currency, letters.
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

/// Like [`is_unsure`], but "not 10, it is 12" counts as sure of 12.
fn is_doubtful(sentence: &str) -> bool {
    let last = sentence.rsplit(|c: char| c.is_ascii_digit()).next().unwrap_or(sentence);
    is_unsure(last)
}
