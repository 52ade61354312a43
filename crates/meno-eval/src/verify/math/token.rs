//! Splits the text of an answer into tokens in one pass: LaTeX, plain text and Unicode.

mod kind;
mod normalize;
mod number;
mod scanner;
mod unit_text;
mod upright;

pub(super) use kind::{Commas, Kind, MAX_LEN, Token};
pub(super) use scanner::tokens;
pub(super) use upright::{AND, quoted};

/// True if one text joins plain values with "and" and the other with "or": `3 and 4` are two values, `3 or 4` is a
/// choice. A comma is neutral; relations (`x = 3 and x = 4`) have separate rules.
pub(super) fn differ_in_connective(a: &str, b: &str) -> bool {
    let joint = |text: &str| {
        if !text.contains("and") && !text.contains("or") && !text.contains(['与', '或']) {
            return None;
        }
        let tokens = tokens(text, Commas::Thousands)?;
        let has = |wanted: fn(&Kind) -> bool| tokens.iter().any(|t| wanted(&t.kind));
        if has(|k| matches!(k, Kind::Relation(_))) {
            return None;
        }
        match (has(|k| *k == Kind::And), has(|k| *k == Kind::Or)) {
            (and, or) if and != or => Some(or),
            _ => None,
        }
    };
    matches!((joint(a), joint(b)), (Some(a), Some(b)) if a != b)
}
