//! TeX commands at the edges of a text: spaces, fonts, the last command.

/// TeX spaces.
pub(super) const SPACING: [&str; 12] = [
    "\\,",
    "\\;",
    "\\:",
    "\\!",
    "\\ ",
    "\\quad",
    "\\qquad",
    "~",
    "\\displaystyle",
    "\\textstyle",
    "\\large",
    "\\Large",
];

pub(super) fn trim_spacing_end(mut text: &str) -> &str {
    loop {
        let next = text.trim_end_matches([' ', '\t', '\r', '\n', '&']);
        let next = if next.len() < text.len() { next.strip_suffix('\\').unwrap_or(next) } else { next };
        let next = SPACING.iter().find_map(|s| next.strip_suffix(s)).unwrap_or(next);
        if next.len() == text.len() {
            return text;
        }
        text = next;
    }
}

/// Trims spaces at the start, except line ends, which end a sentence.
pub(super) fn trim_spacing_start(mut text: &str) -> &str {
    loop {
        let next = text.trim_start_matches([' ', '\t', '\r', '&']);
        let next = SPACING.iter().find_map(|s| next.strip_prefix(s)).unwrap_or(next);
        if next.len() == text.len() {
            return text;
        }
        text = next;
    }
}

/// Commands whose group keeps the value of its content.
pub(super) const FONTS: [&str; 29] = [
    "large",
    "Large",
    "LARGE",
    "huge",
    "Huge",
    "displaystyle",
    "centerline",
    "text",
    "textbf",
    "textit",
    "textrm",
    "textsf",
    "textnormal",
    "mbox",
    "hbox",
    "mathbf",
    "mathrm",
    "mathsf",
    "mathit",
    "bm",
    "boldsymbol",
    "underline",
    "emph",
    "mathbb",
    "framebox",
    "bold",
    "textcolor",
    "color",
    "ensuremath",
];

/// The name of the command at the end of a text.
pub(super) fn command_at_end(text: &str) -> Option<&str> {
    let name = text.len() - text.bytes().rev().take_while(u8::is_ascii_alphabetic).count();
    (name < text.len() && text[..name].ends_with('\\')).then(|| &text[name..])
}
