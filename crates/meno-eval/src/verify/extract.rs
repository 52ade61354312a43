//! Finds the final answer in a response.
//!
//! In this order: the one pair of `<answer>` tags; the last `\boxed{…}`; what follows "answer is", "Answer:", `####` and
//! their kin; the whole response if it is nothing but an answer; the last formula between `$`, `\(` or `\[`; the last
//! number. Only what stands after the reasoning counts. Every pass over the text is linear.

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

/// What stands in the one pair of `<answer>` tags. Several answers are no answer: a guess in each would pay.
pub fn tagged(response: &str) -> Option<&str> {
    let (_, rest) = response.split_once("<answer>")?;
    let (answer, after) = rest.split_once("</answer>")?;
    (!answer.contains("<answer>") && !after.contains("<answer>")).then_some(answer)
}

/// The marks that models put around their thoughts.
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

/// The part of a response after its reasoning, or before it if nothing follows. `None` if it is in a thought when it
/// ends.
pub fn after_thinking(response: &str) -> Option<&str> {
    let mut rest = response;
    for (open, close) in THOUGHTS {
        // Both marks start with the same character, which most texts lack.
        if open.chars().next().is_some_and(|c| rest.contains(c)) {
            rest = outside_thoughts(rest, open, close)?;
        }
    }
    Some(rest)
}

/// The last part of a text outside its thoughts that says something.
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
            // A thought that was opened before the response started, or one within another.
            (None, Some(end)) => (last, rest) = ("", &rest[end + close.len()..]),
        }
    }
}

/// What stands in the last `\boxed{…}`, braces matched.
pub fn boxed(text: &str) -> Option<&str> {
    boxes(text)?.last().map(|b| b.inner)
}

/// The final answer of a response. `reads` tells whether a text is an answer by itself: in free text it decides where
/// the answer ends.
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

/// Whether an answer is boxed. `None` if a box does not close.
fn has_boxes(text: &str) -> Option<bool> {
    if text.contains("\\boxed") || text.contains("\\fbox") { boxes(text).map(|b| !b.is_empty()) } else { Some(false) }
}

/// The answer of a box or a phrase.
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
