//! Answers after "the answer is" and similar phrases: where they start, and which words after them can be dropped.

use super::denial::{denied_before, doubted_before, is_unsure};
use super::formulas::{formulas, is_list_joint};
use super::text::{strip, words};
use crate::verify::math::reading;

/// Phrases that introduce an answer, in lower case.
const PHRASES: [&str; 26] = [
    "answer is",
    "answers are",
    "answers is",
    "answer:",
    "answer :",
    "answer**:",
    "answer：",
    "answer =",
    "answer must be",
    "solution is:",
    "final answer",
    "result is:",
    "####",
    "答案是",
    "答案为",
    "答案：",
    "答案:",
    "答案为：",
    "答案是：",
    "答案等于",
    "结果是",
    "结果为",
    "结果：",
    "答：",
    "答:",
    "故选：",
];

/// The text after the last phrase that introduces an answer; `None` if a word before the phrase denies or doubts it.
pub(super) fn after_phrase(text: &str) -> Option<&str> {
    // ASCII lower-casing keeps byte positions, and only ASCII letters need it here.
    let lower = text.to_ascii_lowercase();
    let (end, start) = PHRASES.iter().filter_map(|p| lower.rfind(p).map(|at| (at + p.len(), at))).max()?;
    if denied_before(&text[..start]) || doubted_before(&text[..start]) {
        return None;
    }
    let rest =
        text[end..].trim_start_matches(|c: char| c.is_whitespace() || matches!(c, ':' | '：' | '*' | '_' | '#' | '='));
    let rest = rest.strip_prefix("is ").unwrap_or(rest);
    // The answer is a list with one item.
    let line = text[end..text.len() - rest.len()].contains('\n');
    let rest = ["- ", "• ", "+ "].into_iter().find_map(|b| rest.strip_prefix(b)).filter(|_| line).unwrap_or(rest);
    (!rest.is_empty()).then_some(rest)
}

/// The answer at the start of a text that continues as prose.
pub(super) fn sentence_answer(rest: &str) -> Option<String> {
    let rest = drop_prefix(rest);
    for word in ["minus ", "negative "] {
        let value = rest.get(..word.len()).filter(|w| w.eq_ignore_ascii_case(word)).map(|_| &rest[word.len()..]);
        if let Some(value) = value.filter(|v| v.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '$' | '\\'))) {
            return sentence_answer(value).map(|value| format!("-({value})"));
        }
    }
    let formulas = formulas(rest);
    if let Some(first) = formulas.first().filter(|f| f.outer.0 == 0) {
        let end = formulas[1..].iter().try_fold(first, |last, next| {
            if is_list_joint(&rest[last.outer.1..next.outer.0]) { Ok(next) } else { Err(last) }
        });
        let (Ok(last) | Err(last)) = end;
        let after = &rest[last.outer.1..];
        let sentence = &after[..sentence_end(after)];
        let clause = strip(sentence);
        // "$5$ cm", "$5$ or 6": text that belongs to the answer.
        let more = clause.split_whitespace().count() <= 3 && !clause.is_empty() && reads_more(clause);
        let or = words(clause).next().is_some_and(|w| w == "or") && clause.contains(|c: char| c.is_ascii_digit());
        let end = if more || or { last.outer.1 + sentence.len() } else { last.outer.1 };
        return Some(strip(&rest[..end]).to_owned());
    }
    let sentence = &rest[..sentence_end(rest)];
    Some(clause(strip(sentence)).to_owned())
}

/// True if the words after a formula are its unit.
pub(super) fn reads_more(clause: &str) -> bool {
    let clause = clause.trim_start_matches("\\").trim();
    clause.starts_with('%')
        || clause.chars().all(|c| c.is_alphabetic() || matches!(c, ' ' | '/' | '^' | '²' | '³' | '2' | '3' | '.'))
            && !clause.contains(char::is_uppercase)
            && reading::is_unit(clause)
}

/// Drops words before an answer that have no meaning.
fn drop_prefix(mut text: &str) -> &str {
    const PREFIXES: [&str; 12] = [
        "i think ",
        "i believe ",
        "therefore ",
        "thus ",
        "simply ",
        "exactly ",
        "just ",
        "equal to ",
        "indeed ",
        "the ",
        "given by ",
        "approximately ",
    ];
    loop {
        let lower = text.get(..24.min(text.len())).unwrap_or(text).to_ascii_lowercase();
        match PREFIXES.iter().find(|p| lower.starts_with(**p)) {
            Some(prefix) if text.is_char_boundary(prefix.len()) => text = text[prefix.len()..].trim_start(),
            _ => return text,
        }
    }
}

/// Words that end an answer and start its explanation.
const EXPLAINS: [&str; 18] = [
    " because ",
    " since ",
    ", because ",
    ", since ",
    ", which ",
    ", so ",
    ", as ",
    ", not ",
    " (not ",
    " and not ",
    " rather than ",
    " instead of ",
    ", where ",
    " as ",
    " which ",
    " in total",
    " in all",
    " altogether",
];
/// Words that may follow a number with its unit: "12 apples in the basket". After a bare number they can change the
/// value, as in "5 in base 6".
const DESCRIBES: [&str; 8] = [" in ", " of ", " for ", " with ", " that ", " from ", " on ", " at "];

/// A sentence without the clause that explains its answer. Keeps what cannot be dropped safely.
fn clause(sentence: &str) -> &str {
    if reading::reads(sentence) {
        return sentence;
    }
    let cut = |marks: &'static [&'static str], fits: fn(&str) -> bool| {
        let mut cuts: Vec<usize> = marks.iter().filter_map(|c| sentence.find(c)).collect();
        cuts.sort_unstable_by(|a, b| b.cmp(a));
        cuts.into_iter().map(|at| strip(&sentence[..at])).find(|c| fits(c))
    };
    // "The largest n is 34".
    let after = || {
        let at = sentence.rfind(" is ").filter(|&at| !is_unsure(&sentence[..at + " is".len()]))?;
        Some(strip(&sentence[at + " is ".len()..])).filter(|c| reading::reads_value(c))
    };
    cut(&EXPLAINS, reading::reads)
        .or_else(|| cut(&DESCRIBES, reading::is_quantity_text))
        .or_else(after)
        .or_else(|| lone_quantity(sentence))
        .unwrap_or(sentence)
}

/// "Jane started growing it 3 hours ago": the only number, with a unit, at the end.
fn lone_quantity(sentence: &str) -> Option<&str> {
    let start = sentence.find(|c: char| c.is_ascii_digit()).filter(|&at| at > 0)?;
    let quantity = strip(sentence[start..].trim_end_matches(" ago").trim_end_matches(" long"));
    let before = &sentence[..start];
    let plain = before.ends_with(' ') && !is_unsure(before) && !quantity.ends_with(|c: char| c.is_ascii_digit());
    (plain && reading::is_quantity_text(quantity)).then_some(quantity)
}

/// The end of the first sentence or line: a full stop before a space, a line end, or a control token.
pub(super) fn sentence_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut depth = 0usize;
    for (i, b) in bytes.iter().enumerate() {
        match b {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b'\n' if depth == 0 || bytes.get(i + 1) == Some(&b'\n') => return i,
            b'.' if depth == 0 => {
                let next = bytes.get(i + 1).copied().unwrap_or(b' ');
                let dotted = bytes.get(i + 1) == Some(&b'.') || i > 0 && bytes[i - 1] == b'.';
                if (next.is_ascii_whitespace() || matches!(next, b'*' | b'"')) && !dotted {
                    return i;
                }
            }
            b'<' if text[i..].starts_with("<|") => return i,
            0xE3 if text[i..].starts_with('。') => return i,
            _ => {}
        }
    }
    text.len()
}
