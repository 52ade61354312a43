//! Finds the program of a response: its fenced code blocks, and which of them is the answer.

use super::suite::{Test, Tests};
use crate::sandbox::Language;
use crate::verify::after_thinking;

/// A fenced code block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// The first word after the opening fence.
    pub(super) tag: String,
    /// The lines between the fences, each ending with `
    /// `.
    pub(super) code: String,
}

/// A code fence: its character, length and indentation.
#[derive(Clone, Copy)]
struct Fence {
    mark: char,
    length: usize,
    indent: usize,
}

/// Parses the opening fence on a line and the text after it. Text may precede the fence (`Here it is: ```python`).
fn opening(line: &str) -> Option<(Fence, &str)> {
    let body = line.trim_start();
    let indent = line.len() - body.len();
    let at = body.find("```").or_else(|| body.starts_with("~~~").then_some(0))?;
    let mark = body[at..].chars().next()?;
    let rest = body[at..].trim_start_matches(mark);
    let (length, info) = (body.len() - at - rest.len(), rest.trim());
    // Backticks after the fence make it inline code; so do words after a fence in the middle of a line.
    let inline = mark == '`' && info.contains('`') || at > 0 && info.contains(char::is_whitespace);
    (!inline).then_some((Fence { mark, length, indent }, info))
}

/// True if a line closes a fence: at least as many of the same character, and nothing else.
fn closes(line: &str, fence: Fence) -> bool {
    let line = line.trim();
    line.len() >= fence.length && line.chars().all(|c| c == fence.mark)
}

/// All non-empty fenced blocks in order. An unclosed block extends to the end.
fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.split('\n').map(|line| line.trim_end_matches('\r'));
    while let Some(line) = lines.next() {
        let Some((fence, info)) = opening(line) else { continue };
        let word = info.split([' ', '\t', ',', '{', '}', ':']).find(|word| !word.is_empty()).unwrap_or_default();
        let mut code = String::new();
        let mut closed = false;
        for line in lines.by_ref() {
            if closes(line, fence) {
                closed = true;
                break;
            }
            let white = line.len() - line.trim_start().len();
            code += &line[white.min(fence.indent)..];
            code.push('\n');
        }
        if !closed {
            // The closing fence may be at the end of the last line.
            let run: String = std::iter::repeat_n(fence.mark, fence.length).collect();
            if let Some(rest) = code.trim_end().strip_suffix(&run) {
                code = format!("{rest}\n");
            }
        }
        if !code.trim().is_empty() {
            blocks.push(Block { tag: word.trim_start_matches('.').to_owned(), code });
        }
    }
    blocks
}

/// The program of a response, or the reason why there is none.
pub(super) fn program(response: &str, tests: &Tests) -> Result<(Language, String), String> {
    let text = after_thinking(response).ok_or("the thought does not end")?;
    let blocks = blocks(text);
    let Some(last) = blocks.last() else { return Err("there is no code block".to_owned()) };
    let language = |block: &Block| match (Language::from_tag(&block.tag), tests.language) {
        (None, fixed) if block.tag.is_empty() => Some(fixed.unwrap_or(Language::Python)),
        (Some(tagged), Some(fixed)) => (tagged == fixed).then_some(tagged),
        (tagged, _) => tagged,
    };
    let fit: Vec<(Language, &Block)> = blocks.iter().filter_map(|block| Some((language(block)?, block))).collect();
    // Next to tagged blocks, an untagged block shows output. A block that defines the tested function or class is
    // preferred.
    let tagged = fit.iter().any(|(_, block)| !block.tag.is_empty());
    let fit = || fit.iter().filter(|(_, block)| !tagged || !block.tag.is_empty());
    match fit().rfind(|(_, block)| defines(&block.code, tests)).or_else(|| fit().next_back()) {
        Some((language, block)) => Ok((*language, block.code.clone())),
        None => Err(match tests.language {
            Some(fixed) => format!("the problem requires {fixed}, but the code block is tagged `{}`", last.tag),
            None => format!("`{}` programs are not supported: use Python, C++, Rust or JavaScript", last.tag),
        }),
    }
}

/// True if the code defines a function or class that the tests use.
fn defines(code: &str, tests: &Tests) -> bool {
    let name = |line: &str| {
        let rest = ["def ", "async def ", "class "].iter().find_map(|word| line.strip_prefix(word))?;
        rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().map(str::to_owned)
    };
    let tested = |name: String| match &tests.function {
        Some(function) => name == *function || name == "Solution",
        None => tests.tests.iter().any(|test| match test {
            Test::Script(script) => has_word(script, &name),
            Test::Case { .. } | Test::Packed { .. } => false,
        }),
    };
    code.lines().filter_map(|line| name(line.trim_start())).any(tested)
}

/// True if a text contains a name as a whole word.
fn has_word(text: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    !name.is_empty()
        && text.match_indices(name).any(|(at, _)| {
            !text[..at].chars().next_back().is_some_and(part)
                && !text[at + name.len()..].chars().next().is_some_and(part)
        })
}

/// Formats a program as one code block, which [`program`] can read.
pub(super) fn fenced(language: Language, code: &str) -> String {
    let longest = code.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{}\n{code}{fence}", language.to_string().to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(response: &str) -> Option<String> {
        program(response, &Tests::default()).ok().map(|(_, code)| code)
    }

    #[test]
    fn the_last_block_is_the_program() {
        let text = "<think>```python\nno\n```</think>First\n```python\na = 1\n```\nbetter\n```py\nb = 2\n```\ndone";
        assert_eq!(found(text).as_deref(), Some("b = 2\n"));
        assert_eq!(found("```\nc\n```").as_deref(), Some("c\n"));
        for none in ["no code", "```python\n\n```", "``` ```", "```", "<think>\n```python\na\n```", "say ```x``` now"] {
            assert_eq!(found(none), None, "{none}");
        }
    }

    #[test]
    fn all_forms_of_fences_are_read() {
        let cases = [
            ("````python\ns = '''\n```\n'''\n````", "s = '''\n```\n'''\n"),
            ("~~~python\na\n~~~", "a\n"),
            ("~~~\n```\n~~~", "```\n"),
            ("1. So:\n   ```python\n   if a:\n       b\n   ```", "if a:\n    b\n"),
            ("```python\r\na\r\nb\r\n```\r\n", "a\nb\n"),
            ("``` python\na\n```", "a\n"),
            ("```Python title=\"x\"\na\n```", "a\n"),
            ("```{.python}\na\n```", "a\n"),
            ("```python\na\n`````", "a\n"),
            ("```python\na", "a\n"),
            ("```python\na```", "a\n"),
            ("Here it is: ```python\na\n```", "a\n"),
            ("```python\na\n```\nIt prints\n```\n3\n```", "a\n"),
            ("```python\na\n```\nRun it:\n```bash\npython a.py\n```", "a\n"),
        ];
        for (response, code) in cases {
            assert_eq!(found(response).as_deref(), Some(code), "{response}");
        }
    }

    #[test]
    fn the_tag_selects_the_language_unless_the_problem_does() {
        let of = |tag: &str, fixed| {
            let tests = Tests { language: fixed, ..Tests::default() };
            program(&format!("```{tag}\nx\n```"), &tests).map(|(language, _)| language)
        };
        for (tag, language) in [("rust", Language::Rust), ("c++", Language::Cpp), ("js", Language::JavaScript)] {
            assert_eq!(of(tag, None), Ok(language));
            assert!(of(tag, Some(Language::Python)).is_err_and(|e| e.contains("Python")));
        }
        assert_eq!(of("", Some(Language::Rust)), Ok(Language::Rust));
        assert!(of("java", None).is_err_and(|e| e.contains("`java`")));
    }

    #[test]
    fn the_block_with_the_tested_function_is_preferred() {
        let tests = Tests { tests: vec![Test::Script("assert add(1, 2) == 3".into())], ..Tests::default() };
        let response = "```python\ndef add(a, b):\n    return a + b\n```\nUse it so:\n```python\nprint(add(1, 2))\n```";
        assert!(program(response, &tests).is_ok_and(|(_, code)| code.starts_with("def add")));
    }

    #[test]
    fn a_fenced_program_is_read_back() {
        for code in ["a\n", "s = '''\n```\n'''\n", "````\n"] {
            for language in [Language::Python, Language::Cpp, Language::Rust, Language::JavaScript] {
                let read = program(&fenced(language, code), &Tests::default());
                assert_eq!(read, Ok((language, code.to_owned())));
            }
        }
    }
}
