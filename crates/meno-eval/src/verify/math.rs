//! Mathematical answers: whether a response gives the value of a reference.
//!
//! Three parts, each testable alone: [`extract`](super::extract()) finds the answer in a response, [`parse`] reads text
//! into a typed [`tree`], [`same`] decides whether two trees are equal. docs/verifiers.md lists what is understood.
//!
//! A text can have several readings (`1,234` is a number or a list, `5 m` has a unit or a factor m). Two answers are
//! equal if a reading of one equals a reading of the other.

mod compare;
mod matrix;
mod names;
mod parse;
mod print;
mod real_set;
pub mod scalar;
mod symbols;
mod token;
pub mod tree;
mod units;

use compare::any_same;
pub(super) use symbols::is_invisible;
pub use compare::same;
pub use parse::parse;

use super::extract::{Extracted, Marker, extract, strip};
use super::{Judgement, Verdict};
use tree::{Expr, Relation};

/// Whether two answers are equal.
pub fn equal(a: &str, b: &str) -> bool {
    let (a, b) = (parse(strip(a)), parse(strip(b)));
    any_same(&a, &b)
}

/// The readings of a reference answer: the answer alone, or a solution that marks it. Empty if there are none.
pub fn reference(text: &str) -> Vec<Expr> {
    let marked = text.contains("\\boxed") || text.contains("<answer>") || text.contains("####");
    if !marked {
        let readings = parse(strip(text));
        let prose = |e: &Expr| matches!(e, Expr::Text(t) if t.split(' ').count() > 8 && t.contains(|c: char| c.is_ascii_digit()));
        if !readings.is_empty() && !readings.iter().all(prose) {
            return readings;
        }
    }
    match extract(text) {
        Some(found) if found.marker != Marker::None || !text.contains("boxed{") => {
            parse(strip(found.boxes.as_deref().unwrap_or(&found.text)))
        }
        // A box that was cut off.
        _ => parse(strip(text.rsplit_once("boxed{").map_or(text, |(_, rest)| rest))),
    }
}

/// The answer that a response gives to the question of a reference: all boxes together where the reference has several
/// parts. `None` if there is no answer or it cannot be read.
pub fn answer(reference_text: &str, response: &str) -> Option<String> {
    let found = extract(response)?;
    let text = match found.boxes {
        Some(boxes) if reference(reference_text).iter().any(has_parts) => boxes,
        _ => found.text,
    };
    (!parse(strip(&text)).is_empty()).then_some(text)
}

/// Whether an answer, as [`answer`] gives it, equals a reference.
pub fn is_right(reference_text: &str, answer: &str) -> bool {
    any_same(&reference(reference_text), &parse(strip(answer)))
}

/// Judges a response against a reference answer.
pub fn judge(reference_text: &str, response: &str, truncated: bool) -> Judgement {
    let gold = reference(reference_text);
    let printed = |readings: &[Expr]| readings.iter().map(|e| e.to_string().trim().to_owned()).collect::<Vec<_>>();
    let mut judgement = Judgement { gold: printed(&gold), ..Judgement::default() };
    if truncated {
        let reason = "the response ran into the length limit".into();
        return Judgement { verdict: Verdict::Truncated, reason, ..judgement };
    }
    let Some(found) = extract(response) else {
        let reason = "the response has no answer after its reasoning".into();
        return Judgement { verdict: Verdict::Unparsable, reason, ..judgement };
    };
    judgement.extracted = Some(found.text.clone());
    judgement.marker = Some(found.marker);
    let readings = parse(strip(&found.text));
    judgement.response = printed(&readings);
    let (verdict, reason) = decide(&gold, &readings, &found);
    judgement.verdict = verdict;
    judgement.reason = reason;
    judgement
}

fn decide(gold: &[Expr], readings: &[Expr], found: &Extracted) -> (Verdict, String) {
    if gold.is_empty() {
        return (Verdict::Unparsable, "the reference cannot be read as an answer".into());
    }
    if readings.is_empty() {
        return (Verdict::Unparsable, format!("{:?} cannot be read as an answer", shortened(&found.text)));
    }
    if any_same(gold, readings) {
        return (Verdict::Right, "equal".into());
    }
    if let Some(all) = found.boxes.as_deref().filter(|_| gold.iter().any(has_parts))
        && any_same(gold, &parse(all))
    {
        return (Verdict::Right, "equal, all boxes taken together".into());
    }
    let words = |e: &Expr| matches!(e, Expr::Text(_));
    if found.marker == Marker::None && readings.iter().all(words) && !gold.iter().any(words) {
        return (Verdict::Unparsable, "the response has no answer after its reasoning".into());
    }
    if readings.iter().all(|e| !compare::is_computable(e)) {
        return (Verdict::Unparsable, format!("{:?} is too large to compute", shortened(&found.text)));
    }
    let marker = if found.marker == Marker::None { "; the answer is not marked" } else { "" };
    (
        Verdict::Wrong,
        format!("{} is not {}{marker}", shortened(&readings[0].to_string()), shortened(&gold[0].to_string())),
    )
}

/// A text of at most 80 characters.
fn shortened(text: &str) -> String {
    let text = text.trim();
    if text.chars().count() <= 80 { text.to_owned() } else { text.chars().take(79).chain(['…']).collect() }
}

/// Whether an answer has several parts.
fn has_parts(e: &Expr) -> bool {
    match e {
        Expr::List(_) | Expr::Set(_) | Expr::PlusMinus(_) => true,
        Expr::Add(terms) => terms.iter().any(|t| matches!(t, Expr::PlusMinus(_))),
        Expr::Chain(operands, relations) => relations.contains(&Relation::Equal) && operands.iter().any(has_parts),
        _ => false,
    }
}

/// Whether a text is an answer by itself: mathematics, one word, or a unit's number; not a sentence.
pub(super) fn reads(text: &str) -> bool {
    let word = |e: &Expr| matches!(e, Expr::Text(_));
    let sentence = |e: &Expr| match e {
        Expr::Text(t) => t.contains(' '),
        Expr::Sequence(items) => items.iter().any(word),
        // "Therefore, 5" is no list; "red, blue" is.
        Expr::List(items) | Expr::Ratio(items) => items.iter().any(word) && !items.iter().all(word),
        _ => false,
    };
    let readings = parse(text);
    // Words that were read letter by letter are no formula.
    let spelled = parse::has_long_words(text);
    !readings.iter().all(sentence) && (!spelled || readings.iter().any(is_quantity))
}

/// As [`reads`], and not a word.
pub(super) fn reads_value(text: &str) -> bool {
    reads(text) && !parse(text).iter().all(|e| matches!(e, Expr::Text(_)))
}

/// Whether a text is a number with its unit.
pub(super) fn is_quantity_text(text: &str) -> bool {
    parse(text).iter().any(|e| matches!(e, Expr::Quantity(x, _) if parse::is_numeric(x)))
}

/// A number with its unit, or one word.
fn is_quantity(e: &Expr) -> bool {
    match e {
        Expr::Quantity(x, _) | Expr::Percent(x) | Expr::Degrees(x) => parse::is_numeric(x),
        Expr::Text(_) => true,
        Expr::Chain(operands, _) => operands.last().is_some_and(is_quantity),
        Expr::List(items) => items.iter().all(is_quantity),
        Expr::Neg(x) => is_quantity(x),
        _ => false,
    }
}

/// Whether a text names a unit.
pub(super) fn is_unit(text: &str) -> bool {
    let text = text.trim().trim_end_matches('.').replace('²', "^2").replace('³', "^3");
    matches!(text.as_str(), "%" | "\\%" | "percent" | "pct" | "degrees") || units::parse(&text).is_some()
}

#[cfg(test)]
mod tests;
