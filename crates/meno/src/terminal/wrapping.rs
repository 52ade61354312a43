//! Breaks lines between words, for complete text and for text that is still being written.

use unicode_width::UnicodeWidthChar;

/// Wide punctuation that never begins a line: it stays with the preceding character.
const CLOSING: &str = "，。、；：？！）」』】》〉…";

/// The effect of a character on the line.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// Continues the line.
    Same,
    /// Begins the next line.
    Break,
    /// Begins the next line together with the start of its word.
    Move(String),
    /// A blank at the line break, which is dropped.
    Drop,
}

/// The position of the text in a line. Wide characters (Chinese, Japanese) allow a line break between them,
/// as between words.
#[derive(Debug, Default)]
struct Position {
    column: usize,
    /// The text at the end of the line that must stay together.
    word: String,
    word_width: usize,
    /// True if the word is preceded by anything but blanks.
    after_text: bool,
}

impl Position {
    fn new_line(&mut self) {
        *self = Position::default();
    }

    /// Another word begins.
    fn new_word(&mut self) {
        self.after_text |= !self.word.is_empty();
        self.word.clear();
        self.word_width = 0;
    }

    /// Places a character other than a newline on lines of `width` columns.
    fn place(&mut self, c: char, width: usize) -> Place {
        let w = c.width().unwrap_or(0);
        if c == ' ' {
            self.new_word();
            if self.column + 1 > width {
                return Place::Drop;
            }
            self.column += 1;
            return Place::Same;
        }
        let wide_before = self.word.chars().next_back().is_some_and(|c| c.width() == Some(2));
        let may_break = w == 2 && !CLOSING.contains(c) || wide_before && c.is_alphanumeric();
        if may_break {
            self.new_word();
        }
        let mut place = Place::Same;
        if self.column > 0 && self.column + w > width {
            if self.word.is_empty() || !self.after_text {
                place = Place::Break;
                self.new_line();
            } else {
                place = Place::Move(self.word.clone());
                (self.column, self.after_text) = (self.word_width, false);
            }
        }
        self.word.push(c);
        self.word_width += w;
        self.column += w;
        place
    }
}

/// Breaks text into lines of at most `width` columns, between words where possible.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut position = Position::default();
    for c in text.chars() {
        if c == '\n' {
            lines.push(String::new());
            position.new_line();
            continue;
        }
        let c = if c == '\t' { ' ' } else { c };
        let line = lines.last_mut().expect("invariant: there is a line");
        match position.place(c, width) {
            Place::Drop => {}
            Place::Same => line.push(c),
            Place::Break => {
                line.truncate(line.trim_end().len());
                lines.push(c.to_string());
            }
            Place::Move(word) => {
                line.truncate(line.len() - word.len());
                line.truncate(line.trim_end().len());
                lines.push(word + c.encode_utf8(&mut [0; 4]));
            }
        }
    }
    lines
}

/// Text that is being written to a terminal, broken between words: a word that turns out too long is erased
/// and written again on the next line. The terminal wraps code between fences, so that it can be copied
/// unchanged.
#[derive(Debug, Default)]
pub(crate) struct Wrapped {
    position: Position,
    /// The first characters of the line other than blanks, at most three.
    head: String,
    fenced: bool,
}

impl Wrapped {
    /// What to write for `text` (without control characters) on a terminal of `columns`.
    pub(crate) fn push(&mut self, text: &str, columns: usize) -> String {
        let mut out = String::new();
        // In the last column the cursor is on the last character, not after it.
        let width = columns.saturating_sub(1);
        for c in text.chars() {
            if c == '\n' {
                self.fenced ^= self.head == "```";
                self.head.clear();
                self.position.new_line();
                out.push('\n');
                continue;
            }
            if self.head.len() < 3 && !c.is_whitespace() {
                self.head.push(c);
            }
            // Wrapping is useless where hardly a word fits.
            if self.fenced || self.head == "```" || width < 8 {
                out.push(c);
                continue;
            }
            let c = if c == '\t' { ' ' } else { c };
            match self.position.place(c, width) {
                Place::Drop => continue,
                Place::Same => {}
                Place::Break => out.push('\n'),
                Place::Move(word) => {
                    let back = self.position.word_width - c.width().unwrap_or(0);
                    out += &format!("\x1b[{back}D\x1b[K\n{word}");
                }
            }
            out.push(c);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("  abc你", 5), ["  abc", "你"]);
        assert_eq!(wrap("x abcd你", 5), ["x", "abcd", "你"]);
        assert_eq!(wrap("a verylongword", 6), ["a", "verylo", "ngword"]);
        assert_eq!(wrap("ab  cd\n ef", 2), ["ab", "cd", " e", "f"]);
        assert_eq!(wrap("abcdef\ng", 4), ["abcd", "ef", "g"]);
        assert_eq!(wrap("", 5), [""]);
    }

    #[test]
    fn wide_characters_take_two_columns_and_break_like_words() {
        assert_eq!(wrap("你好世界", 5), ["你好", "世界"]);
        // The line is filled: these characters do not form one word that moves as a whole.
        assert_eq!(wrap("x 你好世界", 6), ["x 你好", "世界"]);
        assert_eq!(wrap("你好abc", 6), ["你好", "abc"]);
        // A full stop never begins a line.
        assert_eq!(wrap("你好吗。", 6), ["你好", "吗。"]);
    }

    /// What a terminal shows for `out`; supports only the sequences used here.
    fn shown(out: &str) -> Vec<String> {
        let mut lines = vec![String::new()];
        let mut rest = out;
        while let Some(c) = rest.chars().next() {
            let line = lines.last_mut().unwrap();
            if let Some(sequence) = rest.strip_prefix("\x1b[") {
                let end = sequence.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                if &sequence[end..=end] == "D" {
                    let mut back: usize = sequence[..end].parse().unwrap();
                    while back > 0 {
                        back -= line.pop().unwrap().width().unwrap();
                    }
                }
                rest = &sequence[end + 1..];
                continue;
            }
            if c == '\n' {
                lines.push(String::new())
            } else {
                line.push(c)
            }
            rest = &rest[c.len_utf8()..];
        }
        lines
    }

    #[test]
    fn what_is_being_written_breaks_as_what_is_there() {
        let text = "The quick brown fox, 你好世界，again: jumps over a verylongwordindeed and\n more 12345678901.";
        for columns in [9, 12, 20, 41, 200] {
            let (mut wrapped, mut out) = (Wrapped::default(), String::new());
            for c in text.chars() {
                out += &wrapped.push(c.encode_utf8(&mut [0; 4]), columns);
            }
            let lines: Vec<String> = shown(&out).iter().map(|l| l.trim_end().to_owned()).collect();
            assert_eq!(lines, wrap(text, columns - 1), "{columns}");
            assert_eq!(Wrapped::default().push(text, columns), out);
        }
    }

    #[test]
    fn code_stays_as_it_is() {
        let text = "look at this\n```rust\nlet a_long_line = of_code(that, must, not, change);\n```\n\
                    and so on and on, to the end";
        let out = Wrapped::default().push(text, 20);
        assert!(out.contains("let a_long_line = of_code(that, must, not, change);\n```\n"), "{out}");
        assert_eq!(shown(&out).last().unwrap(), "to the end");
    }
}
