//! Decides whether a text is an answer by itself. Answer extraction uses this to find where an answer in free text
//! ends.

use super::parse::{has_long_words, is_numeric, parse};
use super::tree::Expr;
use super::units;

/// True if a text is an answer by itself: mathematics, one word, or a number with a unit; not a sentence.
pub(in crate::verify) fn reads(text: &str) -> bool {
    let word = |e: &Expr| matches!(e, Expr::Text(_));
    let sentence = |e: &Expr| match e {
        Expr::Text(t) => t.contains(' '),
        Expr::Sequence(items) => items.iter().any(word),
        // "Therefore, 5" is not a list; "red, blue" is.
        Expr::List(items) | Expr::Ratio(items) => items.iter().any(word) && !items.iter().all(word),
        _ => false,
    };
    let readings = parse(text);
    // Words that were parsed letter by letter are not a formula.
    let spelled = has_long_words(text);
    !readings.iter().all(sentence) && (!spelled || readings.iter().any(is_quantity))
}

/// Like [`reads`], but false for words.
pub(in crate::verify) fn reads_value(text: &str) -> bool {
    reads(text) && !parse(text).iter().all(|e| matches!(e, Expr::Text(_)))
}

/// True if a text is a number with a unit.
pub(in crate::verify) fn is_quantity_text(text: &str) -> bool {
    parse(text).iter().any(|e| matches!(e, Expr::Quantity(x, _) if is_numeric(x)))
}

/// True for a number with a unit, or one word.
fn is_quantity(e: &Expr) -> bool {
    match e {
        Expr::Quantity(x, _) | Expr::Percent(x) | Expr::Degrees(x) => is_numeric(x),
        Expr::Text(_) => true,
        Expr::Chain(operands, _) => operands.last().is_some_and(is_quantity),
        Expr::List(items) => items.iter().all(is_quantity),
        Expr::Neg(x) => is_quantity(x),
        _ => false,
    }
}

/// True if a text is the name of a unit.
pub(in crate::verify) fn is_unit(text: &str) -> bool {
    let text = text.trim().trim_end_matches('.').replace('²', "^2").replace('³', "^3");
    matches!(text.as_str(), "%" | "\\%" | "percent" | "pct" | "degrees") || units::parse(&text).is_some()
}
