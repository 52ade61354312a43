//! The prose of a response: its text without code, formulas, LaTeX commands and tags.

/// The parts of a text between its markup, in order.
pub(super) struct Prose<'a> {
    text: &'a str,
    at: usize,
    fence: Next,
    tick: Next,
    display: Next,
    round: Next,
    square: Next,
    paragraph: Next,
}

/// The next occurrence of a pattern. For increasing positions, it scans the text only once.
struct Next {
    pattern: &'static str,
    known: Option<usize>,
}

impl Next {
    fn new(pattern: &'static str) -> Next {
        Next { pattern, known: Some(0) }
    }

    /// Returns the first occurrence at `from` or later.
    fn find(&mut self, text: &str, from: usize) -> Option<usize> {
        // `known` is an occurrence or, initially, the position to search from.
        if let Some(known) = self.known
            && (known < from || !text[known..].starts_with(self.pattern))
        {
            self.known = text[from..].find(self.pattern).map(|i| from + i);
        }
        self.known
    }
}

impl<'a> Prose<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let next = Next::new;
        let (fence, tick, display) = (next("```"), next("`"), next("$$"));
        let (round, square, paragraph) = (next("\\)"), next("\\]"), next("\n\n"));
        Prose { text, at: 0, fence, tick, display, round, square, paragraph }
    }

    /// Returns the end of the markup that begins at `at`, if any.
    fn markup(&mut self, at: usize) -> Option<usize> {
        let (text, rest) = (self.text, &self.text[at..]);
        match rest.as_bytes()[0] {
            b'<' => tag(rest).map(|len| at + len),
            b'`' if rest.starts_with("```") => {
                // An unclosed fence continues to the end.
                Some(self.fence.find(text, at + 3).map_or(text.len(), |i| i + 3))
            }
            b'`' => {
                let end = self.tick.find(text, at + 1)?;
                self.same_paragraph(at, end).then_some(end + 1)
            }
            b'$' if rest.starts_with("$$") => self.display.find(text, at + 2).map(|i| i + 2),
            b'$' => dollars(rest).map(|len| at + len).filter(|&end| self.same_paragraph(at, end)),
            b'\\' => match rest.as_bytes().get(1)? {
                b'(' => self.round.find(text, at + 2).map(|i| i + 2),
                b'[' => self.square.find(text, at + 2).map(|i| i + 2),
                b if b.is_ascii_alphabetic() => Some(at + 1 + letters(&rest[1..])),
                _ => None,
            },
            _ => None,
        }
    }

    fn same_paragraph(&mut self, from: usize, to: usize) -> bool {
        self.paragraph.find(self.text, from).is_none_or(|end| end >= to)
    }
}

/// Returns the number of ASCII letters at the beginning.
fn letters(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len())
}

/// Returns the length of a tag such as `<think>` or `</answer>`.
fn tag(text: &str) -> Option<usize> {
    let name = text[1..].strip_prefix('/').unwrap_or(&text[1..]);
    let len = letters(name);
    (len > 0 && name[len..].starts_with('>')).then(|| text.len() - name.len() + len + 1)
}

/// Returns the length of `$…$`, by pandoc's rules: no space inside the signs, no digit after them. "$5 and $6" is
/// money.
fn dollars(text: &str) -> Option<usize> {
    let inner = &text[1..];
    let end = inner.find('$')?;
    let formula = &inner[..end];
    let tight =
        !formula.is_empty() && !formula.starts_with(char::is_whitespace) && !formula.ends_with(char::is_whitespace);
    let digit = inner[end + 1..].starts_with(|c: char| c.is_ascii_digit());
    (tight && !digit).then_some(end + 2)
}

impl<'a> Iterator for Prose<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let start = self.at;
        let mut at = start;
        while at < self.text.len() {
            // Markup begins with one of these. They are ASCII, so `at` is a character boundary.
            match self.text[at..].find(['<', '`', '$', '\\']) {
                None => break,
                Some(i) => at += i,
            }
            match self.markup(at) {
                Some(end) => {
                    self.at = end;
                    return Some(&self.text[start..at]);
                }
                None => at += 1,
            }
        }
        self.at = self.text.len();
        (start < self.text.len()).then(|| &self.text[start..])
    }
}
