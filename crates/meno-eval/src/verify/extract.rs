//! Finds the final answer in a response.
//!
//! Tries in this order: the single pair of `<answer>` tags; the last `\boxed{…}`; the text after "answer is",
//! "Answer:", `####` and similar phrases; the whole response if it is only an answer; the last formula in `$`, `\(` or
//! `\[`; the last number. Only the text after the reasoning counts. Every pass over the text takes linear time.

mod around;
mod boxes;
pub(in crate::verify) mod denial;
mod extracted;
mod formulas;
mod prose;
mod text;
mod unmarked;

pub use extracted::{Extracted, Marker};
pub(super) use text::{strip, tail};

use boxes::{boxes, from_boxes};
use prose::{after_phrase, sentence_answer};
use unmarked::unmarked;

/// The content of the single pair of `<answer>` tags. Several pairs count as no answer, because otherwise guessing
/// several times would pay.
pub fn tagged(response: &str) -> Option<&str> {
    let (_, rest) = response.split_once("<answer>")?;
    let (answer, after) = rest.split_once("</answer>")?;
    (!answer.contains("<answer>") && !after.contains("<answer>")).then_some(answer)
}

/// The tags that models put around their reasoning.
const THOUGHTS: [(&str, &str); 8] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("◁think▷", "◁/think▷"),
];

/// The part of a response after its reasoning, or before the reasoning if nothing follows it. `None` if the reasoning
/// does not end.
pub fn after_thinking(response: &str) -> Option<&str> {
    let mut rest = response;
    for (open, close) in THOUGHTS {
        // Both tags start with the same character, which most texts do not contain.
        if open.chars().next().is_some_and(|c| rest.contains(c)) {
            rest = outside_thoughts(rest, open, close)?;
        }
    }
    Some(rest)
}

/// The last non-empty part of a text outside its reasoning.
fn outside_thoughts<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    let (mut last, mut rest) = ("", text);
    loop {
        let closes = rest.find(close);
        let opens = rest[..closes.unwrap_or(rest.len())].find(open);
        match (opens, closes) {
            (Some(_), None) => return None,
            (None, None) => return Some(if rest.trim().is_empty() { last } else { rest }),
            (Some(at), Some(end)) => {
                last = if rest[..at].trim().is_empty() { last } else { &rest[..at] };
                rest = &rest[end + close.len()..];
            }
            // The reasoning started before the response did, or is nested.
            (None, Some(end)) => (last, rest) = ("", &rest[end + close.len()..]),
        }
    }
}

/// The content of the last `\boxed{…}`, with matched braces.
pub fn boxed(text: &str) -> Option<&str> {
    boxes(text)?.last().map(|b| b.inner)
}

/// The final answer of a response. In free text, the math reader decides where an answer ends.
pub fn extract(response: &str) -> Option<Extracted> {
    let text = after_thinking(response)?;
    if text.contains("<answer>") {
        let inner = tagged(text)?;
        let (before, rest) = text.split_once("<answer>")?;
        let after = rest.split_once("</answer>")?.1;
        if denial::denied_before(before) || denial::denied_after(after) {
            return None;
        }
        let found = marked(inner).unwrap_or_else(|| Extracted::plain(strip(inner)));
        return (!found.text.is_empty()).then_some(Extracted { marker: Marker::Tags, ..found });
    }
    let found = if has_boxes(text)? { from_boxes(text) } else { marked(text).or_else(|| unmarked(text)) };
    found.filter(|e| !e.text.trim().is_empty())
}

/// True if an answer is boxed. `None` if a box is not closed.
fn has_boxes(text: &str) -> Option<bool> {
    if text.contains("\\boxed") || text.contains("\\fbox") { boxes(text).map(|b| !b.is_empty()) } else { Some(false) }
}

/// The answer in a box or after a phrase.
fn marked(text: &str) -> Option<Extracted> {
    if has_boxes(text)? {
        return from_boxes(text);
    }
    let rest = after_phrase(tail(text))?;
    if rest.starts_with("~~") {
        return None;
    }
    let answer = sentence_answer(rest)?;
    let denied = rest.find(&answer).is_some_and(|at| denial::denied_after(&rest[at + answer.len()..]));
    (!denied).then_some(Extracted { text: answer, boxes: None, marker: Marker::Phrase })
}
