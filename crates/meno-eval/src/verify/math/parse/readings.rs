//! The readings of a text: plain words, or one tree for each meaning of its commas and letters.

use super::parser::Parser;
use crate::verify::math::token::{Commas, Kind, Token, tokens};
use crate::verify::math::tree::{Expr, Literal};

/// Maximum number of readings of one text.
const MAX_READINGS: usize = 4;

/// Returns all readings of an answer: several if a comma or a unit letter is ambiguous. Empty if the text is not a
/// comparable answer.
pub fn parse(text: &str) -> Vec<Expr> {
    let text = trimmed(text);
    if text.is_empty() {
        return Vec::new();
    }
    let mut readings: Vec<Expr> = Vec::new();
    let mut add = |expr: Option<Expr>| {
        if let Some(expr) = expr.filter(|e| !readings.contains(e) && readings.len() < MAX_READINGS) {
            readings.push(expr);
        }
    };
    // \\text{5 cm}
    let inner = text.strip_prefix("\\text{").and_then(|t| t.strip_suffix('}'));
    if let Some(inner) = inner.filter(|t| t.contains(|c: char| c.is_ascii_digit()) && !t.contains(['{', '}'])) {
        return parse(inner);
    }
    let Some(joined) = tokens(text, Commas::Thousands) else { return Vec::new() };
    if let Some(words) = words(&joined, text) {
        add(Some(words));
        if !may_be_product(&joined) {
            return readings;
        }
    }
    let separate = tokens(text, Commas::List).filter(|separate| *separate != joined && !has_padded(separate));
    let decimal = tokens(text, Commas::Decimal)
        .filter(|decimal| !text.contains(['(', '[', '{']) && is_decimal_comma(decimal, &joined, text));
    for tokens in [Some(joined), separate, decimal].into_iter().flatten() {
        for units in [true, false] {
            add(Parser::new(&tokens, units).answer());
        }
    }
    readings
}

/// Removes the punctuation of the sentence.
fn trimmed(text: &str) -> &str {
    let text = text.trim();
    // Trailing dots mark a continuation.
    if text.ends_with("..") { text } else { text.trim_end_matches(['.', ',', ';', ':', '。', '，']).trim() }
}

/// True if an integer has leading zeros, which only the groups of a longer number have.
fn has_padded(tokens: &[Token]) -> bool {
    tokens.iter().any(|t| matches!(&t.kind, Kind::Number { digits: Some(d), .. } if d.len() > 1 && d.starts_with('0')))
}

/// True if the only comma of the text is a decimal comma: `1,25` and `0,5`, but not `1,500`, and not `1,5`, which is
/// more often a list.
fn is_decimal_comma(decimal: &[Token], joined: &[Token], text: &str) -> bool {
    let Some((before, after)) = text.split_once(',') else { return false };
    let zero = before.ends_with('0') && !before[..before.len() - 1].ends_with(|c: char| c.is_ascii_digit());
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    let grouped = before.matches('.').count() > 1 && after.len() == digits;
    text.matches(',').count() == 1 && decimal.len() < joined.len() && (zero || digits > 1 || grouped)
}

/// Parses plain words: a name, a weekday, a sentence.
fn words(tokens: &[Token], text: &str) -> Option<Expr> {
    let wordy = |t: &Token| matches!(t.kind, Kind::Word(_) | Kind::Text(_));
    let plain = |t: &Token| {
        wordy(t) || matches!(t.kind, Kind::Letter(_) | Kind::And | Kind::Or | Kind::Sign('-' | '\'' | ',' | '.'))
    };
    let long = |t: &Token| match &t.kind {
        Kind::Word(w) => w.len() > 2 || (w.len() == 2 && w.to_lowercase() == "no"),
        Kind::Text(_) => true,
        _ => false,
    };
    if !tokens.iter().all(plain) || !tokens.iter().any(long) {
        return None;
    }
    let capitals = |w: &str| w.chars().all(|c| c.is_ascii_uppercase());
    if let [Token { kind: Kind::Word(w), .. }] = tokens
        && capitals(w)
        && !["YES", "NO", "TRUE", "FALSE", "NONE"].contains(&w.as_str())
    {
        return None; // ABC: points of a figure
    }
    let plain = plain_text(text);
    if plain.is_empty() {
        return None;
    }
    Some(spelled_number(&plain).unwrap_or(Expr::Text(plain)))
}

/// Parses a small number in words.
fn spelled_number(text: &str) -> Option<Expr> {
    const WORDS: [&str; 21] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
        "twenty",
    ];
    let value = WORDS.iter().position(|word| text.eq_ignore_ascii_case(word))?;
    Some(Expr::Number(Literal::integer(value)))
}

/// Words in lower case, separated by single spaces, without markup and quotes.
fn plain_text(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let command = &rest[at + 1..];
        let len = command.bytes().take_while(u8::is_ascii_alphabetic).count();
        rest = &command[len..];
        plain.push(' ');
    }
    plain.push_str(rest);
    let dropped = |c: char| matches!(c, '{' | '}' | '$' | '"' | '“' | '”' | '*' | '~' | '`' | '(' | ')' | '[' | ']');
    let plain: String =
        plain.chars().map(|c| if dropped(c) || c.is_whitespace() || c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = plain.split(' ').filter(|w| !w.is_empty()).collect();
    words.join(" ").to_lowercase().trim_matches(|c: char| matches!(c, '.' | ',' | ' ' | '-')).to_owned()
}

/// True for a single run of letters that looks like a product of variables: without vowels, or in alphabetical order.
fn may_be_product(tokens: &[Token]) -> bool {
    match tokens {
        [Token { kind: Kind::Word(w), .. }] if w.len() > 2 => {
            let b = w.as_bytes();
            b.windows(2).all(|p| p[0] < p[1]) || !b.iter().any(|c| b"aeiouAEIOU".contains(c))
        }
        _ => false,
    }
}

/// True if a text has words outside `\text{…}` that are neither functions nor connectives.
pub(in crate::verify::math) fn has_long_words(text: &str) -> bool {
    let Some(tokens) = tokens(trimmed(text), Commas::Thousands) else { return false };
    tokens.iter().any(|t| matches!(&t.kind, Kind::Word(w) if w.len() > 2 && !w.chars().all(|c| c.is_ascii_uppercase())))
}
