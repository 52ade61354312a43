//! Words between the parts of an answer.

use super::super::token::AND;

/// Words that start a condition.
pub(super) const CONDITIONS: [&str; 4] = ["if", "for", "when", "where"];
/// Words for −.
pub(super) const SIGNS: [&str; 2] = ["minus", "negative"];

/// True if a word separates or precedes parts: a relation, a conjunction, a sign.
pub(in crate::verify::math) fn is_connective(word: &str) -> bool {
    let lists = [&CONDITIONS[..], &SIGNS, &AND, &["in", "is", "or"]];
    lists.iter().any(|words| words.contains(&word)) || is_approximately(word)
}

/// True for words that mean ≈.
pub(super) fn is_approximately(word: &str) -> bool {
    matches!(word, "approximately" | "approx" | "approx." | "approximately equal to" | "(approximately)" | "(approx.)")
}
