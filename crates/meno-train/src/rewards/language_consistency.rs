//! Language consistency (R1 §2.3.2): the share of words in the language of the question.
//!
//! Languages are told apart by script, which is what mixing looks like: a Latin or Cyrillic word counts one, a Han,
//! kana or Hangul character counts one, digits and signs count nothing.

use super::{Input, Reward};

/// The share of the response's words that are in the question's language; 0 if it has no words.
#[derive(Clone, Copy, Debug, Default)]
pub struct LanguageConsistency;

/// A writing system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Script {
    Han,
    Kana,
    Hangul,
    Cyrillic,
    Latin,
}

fn script(c: char) -> Option<Script> {
    match c {
        '\u{4e00}'..='\u{9fff}' | '\u{3400}'..='\u{4dbf}' | '\u{20000}'..='\u{323af}' => Some(Script::Han),
        '\u{3040}'..='\u{30ff}' => Some(Script::Kana),
        '\u{ac00}'..='\u{d7a3}' => Some(Script::Hangul),
        '\u{400}'..='\u{52f}' => Some(Script::Cyrillic),
        c if c.is_alphabetic() => Some(Script::Latin),
        _ => None,
    }
}

fn written_in(language: &str) -> &'static [Script] {
    match language.get(..2).unwrap_or(language) {
        "zh" => &[Script::Han],
        "ja" => &[Script::Han, Script::Kana],
        "ko" => &[Script::Hangul],
        "ru" | "uk" | "bg" | "sr" => &[Script::Cyrillic],
        _ => &[Script::Latin],
    }
}

/// Words in `language` (an ISO 639 code) and words in all, of `text` without its `<tags>` and `\commands`.
pub fn count(language: &str, text: &str) -> (usize, usize) {
    let own = written_in(language);
    let (mut matching, mut all) = (0, 0);
    let mut word = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == '<' {
            // A tag is markup, not language.
            let rest = &text[at + 1..];
            let name = rest.strip_prefix('/').unwrap_or(rest);
            let len = name.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(0);
            if len > 0 && name[len..].starts_with('>') {
                let skip = rest.len() - name.len() + len + 1;
                chars.nth(skip - 1);
                word = None;
                continue;
            }
        }
        if c == '\\' {
            // A LaTeX command, `\boxed`, is markup too.
            let len = text[at + 1..].find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len() - at - 1);
            if len > 0 {
                chars.nth(len - 1);
                word = None;
                continue;
            }
        }
        let now = script(c);
        // A word of letters counts once, at its first letter; every other character counts by itself.
        let counts = match now {
            None => false,
            Some(Script::Latin | Script::Cyrillic) => now != word,
            Some(_) => true,
        };
        word = now;
        if let (true, Some(s)) = (counts, now) {
            all += 1;
            matching += usize::from(own.contains(&s));
        }
    }
    (matching, all)
}

impl Reward for LanguageConsistency {
    fn name(&self) -> &str {
        "language_consistency"
    }
    fn score(&self, input: &Input) -> f32 {
        let (matching, all) = count(&input.question.language, input.text);
        if all == 0 { 0.0 } else { matching as f32 / all as f32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_by_script() {
        assert_eq!(count("en", "47+85=132 so 132, check ok"), (3, 3));
        assert_eq!(count("zh", "47+85=132 得 132, check 对"), (2, 3));
        assert_eq!(count("en", "<think>so 得</think><answer>3</answer>"), (1, 2));
        assert_eq!(count("ja", "答えは三です"), (6, 6));
        assert_eq!(count("ru", "итак ok"), (1, 2));
        assert_eq!(count("en", "12 < 13 and 5>4"), (1, 1));
        assert_eq!(count("en", "1+2=3"), (0, 0));
        assert_eq!(count("en", "<"), (0, 0));
        assert_eq!(count("zh", "所以1+1=\\boxed{2}"), (2, 2));
        assert_eq!(count("en", "so \\frac{1}{2} \\"), (1, 1));
    }
}
