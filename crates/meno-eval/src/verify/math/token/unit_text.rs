//! Units in upright letters.

use super::super::units;
use std::borrow::Cow;

/// Converts the content of `\mathrm{…}` to the text of a unit: TeX spaces and dots become plain ones.
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

/// Converts `\frac{\text{km}}{\text{h}}` to `\text{ km/h}`, for units in upright letters only.
pub(super) fn with_unit_fractions(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    for _ in 0..4 {
        let Some((at, end, unit)) = unit_fraction(&text) else { break };
        text = format!("{}\\text{{ {unit}}}{}", &text[..at], &text[end..]).into();
    }
    text
}

/// The first fraction of units: its position and its unit.
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

/// The unit of a group `{\text{…}^2}`, and the text after the group.
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
