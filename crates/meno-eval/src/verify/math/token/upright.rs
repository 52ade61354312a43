//! Upright text, `\text{…}` and `\mathrm{…}`: words, units, connectives.

use super::super::symbols::function_of;
use super::super::units;
use super::{Kind, Scanner, tokens};
use std::borrow::Cow;

/// Words between the parts of a list.
pub(in super::super) const AND: [&str; 3] = ["and", "und", "et"];

impl Scanner {
    /// The content of `\text{…}`: words, or mathematics if there is no word in it. "and" and "or" alone separate; what is
    /// in quotes is words, whatever it spells.
    pub(super) fn words(&mut self, content: &str) {
        let plain = content.replace(['$', '~'], " ");
        let written = plain.split_whitespace().collect::<Vec<_>>().join(" ");
        let plain = written.to_lowercase();
        let letters = plain.split(|c: char| !c.is_alphabetic()).map(|w| w.chars().count()).max().unwrap_or(0);
        let bare = plain.trim_matches(|c: char| c.is_whitespace() || c == ',' || c == ';');
        let abbreviation = plain.contains('.') && plain.chars().filter(|c| c.is_alphabetic()).count() > 1;
        // After a value a unit is a unit, whatever else its letters could mean.
        let unit = Some(unit_text(&written)).filter(|unit| self.after_value() && units::parse(unit).is_some());
        if quoted(content.trim()).is_some() {
            // With its quotes, so that it is no connective, unit or multiplier either.
            self.push(Kind::Text(content.trim().to_lowercase()));
        } else if AND.contains(&bare) {
            self.push(Kind::And);
        } else if matches!(bare, "or" | "and/or") {
            self.push(Kind::Or);
        } else if let Some(unit) = unit {
            self.push(Kind::Text(unit));
        } else if function_of(content.trim()).is_some() {
            self.push(Kind::Command(content.trim().to_owned()));
        } else if letters <= 1 && !abbreviation && !plain.contains('\\') {
            // Case matters for letters: \text{E} is E.
            self.spaced |= content.starts_with(char::is_whitespace);
            if let Some(inner) = tokens(&content.replace(['$', '~'], " "), self.commas) {
                self.tokens.extend(inner);
            }
            self.spaced = content.ends_with(char::is_whitespace);
        } else {
            self.push(Kind::Text(plain));
        }
    }
}

/// The words of a text in quotes, which mean nothing else, whatever they spell.
pub(in super::super) fn quoted(text: &str) -> Option<&str> {
    text.strip_prefix('“')?.strip_suffix('”')
}

/// The content of `\mathrm{…}` as a unit's text: spaces and dots of TeX as plain ones.
pub(super) fn unit_text(content: &str) -> String {
    let mut text = content.to_owned();
    let signs = [
        ("\\cdot", "*"),
        ("\\,", " "),
        ("\\;", " "),
        ("\\:", " "),
        ("\\ ", " "),
        ("~", " "),
        ("\\mu", "u"),
        ("\\Omega", "ohm"),
    ];
    for (tex, plain) in signs {
        text = text.replace(tex, plain);
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace("* ", "*").replace(" *", "*").replace("u ", "u")
}

/// `\frac{\text{km}}{\text{h}}` as `\text{ km/h}`: only units in upright letters.
pub(super) fn with_unit_fractions(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    for _ in 0..4 {
        let Some((at, end, unit)) = unit_fraction(&text) else { break };
        text = format!("{}\\text{{ {unit}}}{}", &text[..at], &text[end..]).into();
    }
    text
}

/// The first fraction of units: its place and the unit.
fn unit_fraction(text: &str) -> Option<(usize, usize, String)> {
    let mut from = 0;
    while let Some(at) = text[from..].find("frac{\\").map(|i| from + i) {
        from = at + 5;
        let start = text[..at].rfind('\\').filter(|&start| at - start <= 2)?;
        let (above, rest) = upright(&text[at + 4..])?;
        let Some((below, rest)) = upright(rest) else { continue };
        let unit = format!("{above}/{below}");
        if units::parse(&unit).is_some() {
            return Some((start, text.len() - rest.len(), unit));
        }
    }
    None
}

/// The unit of a group `{\text{…}^2}` and what follows the group.
fn upright(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('{')?;
    let inner = ["\\text{", "\\mathrm{"].iter().find_map(|font| inner.strip_prefix(font))?;
    let (name, rest) = inner.split_once('}')?;
    let (power, rest) = rest.split_once('}')?;
    // The brace of ^{2} closed first.
    let (power, rest) = match power.strip_prefix("^{") {
        Some(power) => (format!("^{power}"), rest.strip_prefix('}')?),
        None => (power.to_owned(), rest),
    };
    let plain = name.chars().all(char::is_alphabetic) && power.chars().all(|c| c == '^' || c.is_ascii_digit());
    plain.then(|| (format!("{name}{power}"), rest))
}
