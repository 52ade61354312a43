//! Finds the prose: comments of Rust files and paragraphs of Markdown documents.
//!
//! Rust's tokenizer drops comments, so this module has a separate scanner. It only has to know where strings and
//! character literals begin and end, since `//` inside those is no comment.

/// A paragraph of prose, with the line number of each part of it.
#[derive(Debug, Default)]
pub struct Paragraph {
    /// The lines of the paragraph joined by spaces; code in backticks and quotations are replaced by `` ` ``.
    pub text: String,
    /// Where each line begins in `text`, and its number in the file.
    starts: Vec<(usize, usize)>,
}

impl Paragraph {
    /// The line in the file that holds byte `offset` of `text`.
    pub fn line_at(&self, offset: usize) -> usize {
        self.starts[self.starts.partition_point(|&(start, _)| start <= offset).saturating_sub(1)].1
    }

    fn push(&mut self, line: usize, text: &str) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.starts.push((self.text.len(), line));
        self.text.push_str(text);
    }
}

/// The paragraphs in the comments of a Rust file. Comments on consecutive lines belong together.
pub fn of_rust(text: &str) -> Vec<Paragraph> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut last = 0;
    for (line, comment, after_code) in scan(text) {
        if line != last + 1 || after_code {
            lines.push((line, String::new())); // an empty line ends a paragraph
        }
        last = if after_code { 0 } else { line };
        lines.push((line, comment));
    }
    paragraphs(lines.iter().map(|(line, text)| (*line, text.as_str())))
}

/// The paragraphs of a Markdown document.
pub fn of_markdown(text: &str) -> Vec<Paragraph> {
    paragraphs(text.lines().enumerate().map(|(i, line)| (i + 1, line)))
}

/// Joins lines into paragraphs; leaves out fenced code, code in backticks and quotations.
fn paragraphs<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Vec<Paragraph> {
    let mut found = Vec::new();
    let mut current = Paragraph::default();
    let mut fenced = false;
    for (line, text) in lines {
        let text = text.trim();
        let fence = text.starts_with("```") || text.starts_with("~~~");
        fenced ^= fence;
        if fence || fenced || text.is_empty() {
            found.push(std::mem::take(&mut current));
        } else {
            current.push(line, text);
        }
    }
    found.push(current);
    found.retain(|paragraph| !paragraph.starts.is_empty());
    for paragraph in &mut found {
        paragraph.text = without_code(&paragraph.text);
    }
    found
}

/// Blanks out what is in backticks or in typographic quotation marks; every byte keeps its place.
fn without_code(text: &str) -> String {
    let (mut code, mut quote) = (false, false);
    let blank = |c: char| {
        code ^= c == '`';
        quote = !code && (quote && c != '”' || c == '“');
        if code && c != '`' || quote { "`".repeat(c.len_utf8()) } else { c.to_string() }
    };
    text.chars().map(blank).collect()
}

/// The comments of a Rust file, one entry per line: its number, its text without markers, and whether code precedes it.
fn scan(text: &str) -> Vec<(usize, String, bool)> {
    let mut comments = Vec::new();
    let bytes = text.as_bytes();
    let (mut at, mut line, mut code) = (0, 1, false);
    while at < bytes.len() {
        let rest = &text[at..];
        let next = at
            + match bytes[at] {
                b'/' if rest.starts_with("//") => {
                    let end = rest.find('\n').unwrap_or(rest.len());
                    let body = rest[..end].trim_start_matches('/').trim_start_matches('!');
                    comments.push((line, body.trim().to_owned(), code));
                    end
                }
                b'/' if rest.starts_with("/*") => {
                    let end = block_comment(rest);
                    for (i, body) in rest[..end].lines().enumerate() {
                        let body =
                            body.trim().trim_start_matches("/*").trim_end_matches("*/").trim_matches(['*', '!', ' ']);
                        comments.push((line + i, body.to_owned(), code && i == 0));
                    }
                    end
                }
                b'"' => string(rest),
                b'r' | b'b' | b'c' if !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') => {
                    prefixed(rest)
                }
                b'\'' => character(rest),
                _ => rest.chars().next().map_or(1, char::len_utf8),
            };
        let skipped = &text[at..next];
        if skipped.contains('\n') {
            line += skipped.matches('\n').count();
            code = false;
        }
        code |= !skipped.trim().is_empty() && !skipped.starts_with('/') || skipped == "/";
        at = next;
    }
    comments
}

/// The length of the block comment at the start of `text`; block comments nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The length of the string literal at the start of `text`, which begins with a quotation mark.
fn string(text: &str) -> usize {
    let mut escaped = true; // the opening mark does not end the string
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a literal that begins with `r`, `b` or `c`, or 1 if this is an ordinary word.
fn prefixed(text: &str) -> usize {
    let prefix = ["br", "cr", "r", "b", "c"].into_iter().find(|p| text.starts_with(p)).unwrap_or("");
    let rest = &text[prefix.len()..];
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    if prefix.ends_with('r') && rest[hashes..].starts_with('"') {
        let end = format!("\"{}", "#".repeat(hashes));
        let body = prefix.len() + hashes + 1;
        return text[body..].find(&end).map_or(text.len(), |found| body + found + end.len());
    }
    match rest.as_bytes().first() {
        Some(b'"') => prefix.len() + string(rest),
        Some(b'\'') if prefix == "b" => 1 + character(rest),
        _ => 1,
    }
}

/// The length of the character literal at the start of `text`, or 1 if this is a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            chars.next();
            chars.find(|&(_, c)| c == '\'').map_or(text.len(), |(at, _)| at + 1)
        }
        Some(_) => chars.next().filter(|&(_, c)| c == '\'').map_or(1, |(at, _)| at + 1),
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<String> {
        of_rust(source).into_iter().map(|p| p.text).collect()
    }

    #[test]
    fn comments_on_consecutive_lines_are_one_paragraph() {
        let source = "//! One\n//! two.\n//!\n//! Three.\nfn f() {} // four\n// five\n\n/* six\n * seven */\n";
        assert_eq!(texts(source), ["One two.", "Three.", "four", "five", "six seven"]);
        let paragraph = &of_rust(source)[0];
        assert_eq!((paragraph.line_at(0), paragraph.line_at(2), paragraph.line_at(4)), (1, 1, 2));
    }

    #[test]
    fn what_looks_like_a_comment_in_a_literal_is_none() {
        for source in [
            r##"let a = "// no \" // no"; // yes"##,
            r##"let a = r#"// no " // no"#; // yes"##,
            r##"let a = (b"// no", br"\", '"', b'"', '\'', '\u{41}'); // yes"##,
            "let a: &'static str = b; // yes",
            "let bar = /* yes */ 1;",
        ] {
            assert_eq!(texts(source), ["yes"], "{source}");
        }
    }

    #[test]
    fn code_in_prose_is_left_out() {
        assert_eq!(texts("// a `b c` d\n// ```\n// let x;\n// ```\n// e"), ["a ````` d", "e"]);
        let markdown = of_markdown("# A\n\nb\nc\n\n```sh\nd\n```\n");
        assert_eq!(markdown.iter().map(|p| p.text.as_str()).collect::<Vec<_>>(), ["# A", "b c"]);
        assert_eq!(markdown[1].line_at(2), 4);
    }
}
