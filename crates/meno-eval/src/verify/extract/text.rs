//! Helpers for parts of a text: its start, its end, its words, its content without markup.

/// How much of the end of a response is searched for unmarked answers and phrases, in bytes.
pub(super) const TAIL: usize = 32 << 10;

/// At most the last `len` bytes of a text, starting at a character boundary.
pub(super) fn tail_of(text: &str, len: usize) -> &str {
    let mut from = text.len().saturating_sub(len);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

pub(super) fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphabetic()).filter(|w| !w.is_empty()).map(str::to_lowercase)
}

pub(super) fn head_of(text: &str, len: usize) -> &str {
    let mut to = text.len().min(len);
    while !text.is_char_boundary(to) {
        to -= 1;
    }
    &text[..to]
}

/// The end of a text that is searched for answers outside boxes.
pub(in crate::verify) fn tail(text: &str) -> &str {
    tail_of(text, TAIL)
}

/// Removes the markup around a text: spaces, `**`, quotes, one pair of formula delimiters, a final full stop.
pub(in crate::verify) fn strip(text: &str) -> &str {
    let mut text = text.trim();
    loop {
        // The underscore of _{10}C_3 is not markup.
        let marks: &[char] =
            if text.starts_with("_{") { &['*', '"', '“', '`'] } else { &['*', '_', '"', '“', '`'] };
        let mut next = text.trim_start_matches(marks).trim_start_matches(char::is_whitespace);
        // The star of z^* is not markup.
        let star = if next.ends_with("^*") { '"' } else { '*' };
        next = next.trim_end_matches([star, '"', '”', '`', '.', '。', ',', ';', ':']).trim_end();
        for (open, close) in [("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")] {
            let inner = next.strip_prefix(open).and_then(|t| t.strip_suffix(close));
            if let Some(inner) = inner.filter(|t| !t.contains(open) && !t.contains(close)) {
                next = inner.trim();
            }
        }
        if next == text {
            return text;
        }
        text = next;
    }
}
