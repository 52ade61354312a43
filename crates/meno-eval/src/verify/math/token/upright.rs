//! Upright text, `\text{…}` and `\mathrm{…}`: words, units, connectives.

use super::super::symbols::function_of;
use super::super::units;
use super::kind::Kind;
use super::scanner::{Scanner, tokens};
use super::unit_text::unit_text;

/// Words between the items of a list.
pub(in crate::verify::math) const AND: [&str; 3] = ["and", "und", "et"];

impl Scanner {
    /// Scans the content of `\text{…}`: words, or mathematics if it contains no word. "and" and "or" alone separate
    /// items. Quoted content is always words.
    pub(super) fn words(&mut self, content: &str) {
        let plain = content.replace(['$', '~'], " ");
        let written = plain.split_whitespace().collect::<Vec<_>>().join(" ");
        let plain = written.to_lowercase();
        let letters = plain.split(|c: char| !c.is_alphabetic()).map(|w| w.chars().count()).max().unwrap_or(0);
        let bare = plain.trim_matches(|c: char| c.is_whitespace() || c == ',' || c == ';');
        let abbreviation = plain.contains('.') && plain.chars().filter(|c| c.is_alphabetic()).count() > 1;
        // After a value, a unit is always a unit, whatever else its letters could mean.
        let unit = Some(unit_text(&written)).filter(|unit| self.after_value() && units::parse(unit).is_some());
        if quoted(content.trim()).is_some() {
            // Keeps the quotes, so that the text cannot become a connective, unit or multiplier.
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

/// The words of a quoted text, which have no other meaning.
pub(in crate::verify::math) fn quoted(text: &str) -> Option<&str> {
    text.strip_prefix('“')?.strip_suffix('”')
}
