//! Judges responses against a reference answer.

use super::compare::{any_same, is_computable, is_number};
use super::parse::parse;
use super::rewritten::stated_value;
use super::token::{MAX_LEN, differ_in_connective};
use super::tree::{Expr, Relation};
use crate::verify::extract::{Extracted, Marker, extract, strip};
use crate::verify::judgement::{Judgement, Verdict};

/// True if two answers are equal.
pub fn equal(a: &str, b: &str) -> bool {
    any_same(&parse(bare(a)), &parse(bare(b))) && !differ_in_connective(a, b)
}

/// The readings of a reference answer: the answer alone, or a solution that marks it. Empty if it is not readable.
pub fn reference(text: &str) -> Vec<Expr> {
    Reference::new(text).readings
}

/// A reference answer, parsed once for all responses to its problem.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The answer as written.
    text: String,
    readings: Vec<Expr>,
    printed: Vec<String>,
}

impl Reference {
    /// Parses a reference: the answer alone, or a solution that marks it.
    pub fn new(text: &str) -> Reference {
        let (text, readings) = read_reference(text);
        let printed = printed(&readings);
        Reference { text, readings, printed }
    }

    /// True if the reference is readable as an answer.
    pub fn is_readable(&self) -> bool {
        !self.readings.is_empty()
    }

    /// The answer that a response gives. Combines all boxes if the reference has several parts. `None` if there is no
    /// answer or it is not readable.
    pub fn answer(&self, response: &str) -> Option<String> {
        let found = extract(response).filter(|found| !is_starred(found))?;
        let text = match found.boxes {
            Some(boxes) if self.readings.iter().any(has_parts) => boxes,
            _ => found.text,
        };
        (!parse(bare(&text)).is_empty()).then_some(text)
    }

    /// True if an answer equals the reference.
    pub fn is_right(&self, answer: &str) -> bool {
        self.equals(answer, &parse(bare(answer)))
    }

    fn equals(&self, text: &str, readings: &[Expr]) -> bool {
        if differ_in_connective(&self.text, text) {
            return false;
        }
        if any_same(&self.readings, readings) {
            return true;
        }
        // m + n = 5 counts for 5, but the line x + y = 5 does not equal 5.
        let numbers: Vec<Expr> = self.readings.iter().filter(|e| is_number(e)).cloned().collect();
        let values: Vec<Expr> = readings.iter().filter_map(stated_value).collect();
        any_same(&numbers, &values)
    }

    /// Judges a response.
    pub fn judge(&self, response: &str, truncated: bool) -> Judgement {
        let mut judgement = Judgement { gold: self.printed.clone(), ..Judgement::default() };
        if truncated {
            let reason = "the response ran into the length limit".into();
            return Judgement { verdict: Verdict::Truncated, reason, ..judgement };
        }
        let Some(found) = extract(response) else {
            let reason = "the response has no answer after its reasoning".into();
            return Judgement { verdict: Verdict::Unparsable, reason, ..judgement };
        };
        // Answers that are too long to parse are shortened in the report.
        let long = found.text.len() > MAX_LEN;
        judgement.extracted = Some(if long { shortened(&found.text) } else { found.text.clone() });
        judgement.marker = Some(found.marker);
        let readings = if is_starred(&found) { Vec::new() } else { parse(bare(&found.text)) };
        judgement.response = printed(&readings);
        let (verdict, reason) = self.decide(&readings, &found);
        judgement.verdict = verdict;
        judgement.reason = reason;
        judgement
    }

    fn decide(&self, readings: &[Expr], found: &Extracted) -> (Verdict, String) {
        let gold = &self.readings;
        if gold.is_empty() {
            return (Verdict::Unparsable, "the reference cannot be read as an answer".into());
        }
        if readings.is_empty() {
            return (Verdict::Unparsable, format!("{:?} cannot be read as an answer", shortened(&found.text)));
        }
        if self.equals(&found.text, readings) {
            return (Verdict::Right, "equal".into());
        }
        if let Some(all) = found.boxes.as_deref().filter(|_| gold.iter().any(has_parts))
            && self.equals(all, &parse(all))
        {
            return (Verdict::Right, "equal, all boxes taken together".into());
        }
        let words = |e: &Expr| matches!(e, Expr::Text(_));
        if found.marker == Marker::None && readings.iter().all(words) && !gold.iter().any(words) {
            return (Verdict::Unparsable, "the response has no answer after its reasoning".into());
        }
        if readings.iter().all(|e| !is_computable(e)) {
            return (Verdict::Unparsable, format!("{:?} is too large to compute", shortened(&found.text)));
        }
        let marker = if found.marker == Marker::None { "; the answer is not marked" } else { "" };
        let [mine, theirs] = [&readings[0], &gold[0]].map(|e| shortened(&e.to_string()));
        (Verdict::Wrong, format!("{mine} is not {theirs}{marker}"))
    }
}

/// Removes the markup and the full stop around an answer. Keeps dots that mark a continuation.
fn bare(text: &str) -> &str {
    let text = text.trim();
    let end = text.trim_end_matches(['$', '*', '`', '"']);
    if end.ends_with("..") { end.trim_start_matches(['$', '*', '`', '"']).trim() } else { strip(text) }
}

/// True if a trailing star belongs to the answer: it does in a box or between tags; elsewhere it is markup.
fn is_starred(found: &Extracted) -> bool {
    matches!(found.marker, Marker::Box | Marker::Tags) && ends_in_star(&found.text)
}

/// True if a single star follows an answer that does not start with a star.
fn ends_in_star(text: &str) -> bool {
    let text = text.trim();
    text.ends_with('*') && !text.starts_with('*') && !text.ends_with("^*") && !text.ends_with("**")
}

/// The answer of a reference and its readings. Never searches a reference for its last number: either the whole text is
/// readable, or it marks its answer, or it has no readings.
fn read_reference(text: &str) -> (String, Vec<Expr>) {
    let read = |answer: &str| match ends_in_star(answer) {
        true => (answer.to_owned(), Vec::new()),
        false => (answer.to_owned(), parse(bare(answer))),
    };
    let found = extract(text);
    let phrase = found.as_ref().is_some_and(|found| found.marker == Marker::Phrase);
    let marked = phrase || text.contains("\\boxed") || text.contains("<answer>") || text.contains("####");
    if !marked {
        let found = read(text);
        let digit = |c: char| c.is_ascii_digit();
        let prose = |e: &Expr| matches!(e, Expr::Text(t) if t.split(' ').count() > 8 && t.contains(digit));
        if !found.1.is_empty() && !found.1.iter().all(prose) {
            return found;
        }
    }
    match found {
        Some(found) if found.marker != Marker::None => read(found.boxes.as_deref().unwrap_or(&found.text)),
        _ if !text.contains("boxed{") => (text.to_owned(), Vec::new()),
        // A box that is cut off.
        _ => read(text.rsplit_once("boxed{").map_or(text, |(_, rest)| rest)),
    }
}

fn printed(readings: &[Expr]) -> Vec<String> {
    readings.iter().map(|e| e.to_string().trim().to_owned()).collect()
}

/// The answer that a response gives to the question of a reference. See [`Reference::answer`].
pub fn answer(reference_text: &str, response: &str) -> Option<String> {
    Reference::new(reference_text).answer(response)
}

/// True if an answer, in the form of [`answer`], equals a reference.
pub fn is_right(reference_text: &str, answer: &str) -> bool {
    Reference::new(reference_text).is_right(answer)
}

/// Judges a response against a reference answer.
pub fn judge(reference_text: &str, response: &str, truncated: bool) -> Judgement {
    Reference::new(reference_text).judge(response, truncated)
}

/// Shortens a text to at most 80 characters.
fn shortened(text: &str) -> String {
    let text = text.trim();
    if text.chars().count() <= 80 { text.to_owned() } else { text.chars().take(79).chain(['…']).collect() }
}

/// True if an answer has several parts.
fn has_parts(e: &Expr) -> bool {
    match e {
        Expr::List(_) | Expr::Set(_) | Expr::PlusMinus(_) => true,
        Expr::Add(terms) => terms.iter().any(|t| matches!(t, Expr::PlusMinus(_))),
        Expr::Chain(operands, relations) => relations.contains(&Relation::Equal) && operands.iter().any(has_parts),
        _ => false,
    }
}
