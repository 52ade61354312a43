//! Language consistency (R1 §2.3.2): the fraction of words in the language of the question.
//!
//! Languages are distinguished by script, because mixed answers mix scripts. A word of an alphabet counts as one; in
//! scripts that write no spaces between words (Han, kana, Thai, Khmer, …) and in Hangul, each letter counts as one.
//! Numerals, signs, code, formulas and markup do not count.
//!
//! Two languages with the same script cannot be distinguished: a French answer to an English question counts as
//! consistent. Chinese and Japanese share Han: in a Japanese answer, a sentence without kana counts as Chinese unless
//! it is very short.

use super::languages;
use super::prose::Prose;
use super::{Input, Reward};
use crate::data::Question;
use std::sync::LazyLock;
use unicode_script::{Script, UnicodeScript};

/// The fraction of the response's words in the question's language; 0 if it has no words.
#[derive(Clone, Copy, Debug, Default)]
pub struct LanguageConsistency;

/// Maximum number of Han letters of a Japanese sentence without kana: a heading (証明), a name.
const HAN_ALONE: usize = 4;

/// Returns true if each letter counts separately. Besides Hangul, whose syllables count as characters, these are the
/// scripts in which CLDR's `scriptMetadata` allows a line break after any letter (`lbLetters`): they do not mark words.
fn counts_letters(script: Script) -> bool {
    use Script::*;
    matches!(
        script,
        Han | Hiragana
            | Katakana
            | Bopomofo
            | Hangul
            | Thai
            | Lao
            | Khmer
            | Myanmar
            | Tai_Le
            | New_Tai_Lue
            | Tai_Tham
            | Tai_Viet
            | Ahom
            | Kawi
            | Yi
            | Tangut
            | Nushu
    )
}

/// ー and similar letters. The script extension of a character shared by all scripts also contains kana.
fn is_of_both_kana(c: char) -> bool {
    let scripts = c.script_extension();
    !scripts.is_common() && scripts.contains_script(Script::Katakana)
}

fn is_kana(script: Script) -> bool {
    matches!(script, Script::Hiragana | Script::Katakana)
}

/// The role of a character in counting words.
enum Kind {
    /// A letter of this script.
    Letter(Script),
    /// Continues a word: a combining mark, a joiner.
    Mark,
    /// Ends a word: a space, a digit, a sign.
    Other,
}

fn kind(c: char) -> Kind {
    if c.is_ascii() {
        return if c.is_ascii_alphabetic() { Kind::Letter(Script::Latin) } else { Kind::Other };
    }
    static MARK: LazyLock<regex::Regex> =
        LazyLock::new(|| regex::Regex::new(r"^\p{M}$").expect("invariant: the pattern is fixed"));
    match c.script() {
        // Letters shared by several scripts: ー belongs to both kana. Others are symbols without a language: the
        // mathematical 𝑥, º.
        Script::Common if c.is_alphabetic() && is_of_both_kana(c) => Kind::Letter(Script::Katakana),
        Script::Inherited => Kind::Mark,
        Script::Common | Script::Unknown => Kind::Other,
        // The common scripts first, as a fast path: their letters are not marks.
        Script::Han | Script::Latin | Script::Cyrillic if c.is_alphabetic() && !c.is_numeric() => {
            Kind::Letter(c.script())
        }
        _ if MARK.is_match(c.encode_utf8(&mut [0; 4])) => Kind::Mark,
        script if c.is_alphabetic() && !c.is_numeric() => Kind::Letter(script),
        _ => Kind::Other,
    }
}

/// Words counted so far.
struct Counter {
    own: Vec<Script>,
    matching: usize,
    all: usize,
    /// For the current sentence: its number of Han letters, and true if it has kana.
    sentence: (usize, bool),
}

impl Counter {
    fn word(&mut self, script: Script) {
        self.all += 1;
        self.matching += usize::from(self.own.contains(&script));
        self.sentence.0 += usize::from(script == Script::Han);
        self.sentence.1 |= is_kana(script);
    }

    fn end_sentence(&mut self) {
        let (han, kana) = std::mem::take(&mut self.sentence);
        let japanese = self.own.contains(&Script::Hiragana);
        if japanese && !kana && han > HAN_ALONE {
            self.matching -= han;
        }
    }
}

/// Returns the number of words of `text` in `language` (an ISO 639 code or BCP 47 tag; 0 if unknown), and of all words.
pub fn count(language: &str, text: &str) -> (usize, usize) {
    let own = languages::scripts(language).unwrap_or_default();
    let mut counter = Counter { own, matching: 0, all: 0, sentence: (0, false) };
    for part in Prose::new(text) {
        let mut word = None;
        let mut chars = part.chars().peekable();
        while let Some(c) = chars.next() {
            match kind(c) {
                Kind::Mark => continue,
                Kind::Other => word = None,
                Kind::Letter(script) => {
                    let alone = script == Script::Greek
                        && word != Some(script)
                        && !chars.peek().is_some_and(|&next| matches!(kind(next), Kind::Letter(Script::Greek)));
                    // A single Greek letter is a symbol (π, Δ), unless the language is written in Greek.
                    let symbol = alone && !counter.own.contains(&script);
                    if !symbol && (counts_letters(script) || word != Some(script)) {
                        counter.word(script);
                    }
                    word = Some(script);
                }
            }
            if matches!(c, '。' | '．' | '！' | '？' | '!' | '?' | '\n') {
                counter.end_sentence();
            }
        }
    }
    counter.end_sentence();
    (counter.matching, counter.all)
}

/// Fails if the language of the question is unknown.
pub fn check(question: &Question) -> Result<(), String> {
    match languages::scripts(&question.language) {
        Some(_) => Ok(()),
        None => Err(format!(
            "its `language` is {:?}, expected an ISO 639 code or BCP 47 tag whose script is known (en, zh, sr-Latn)",
            question.language
        )),
    }
}

impl Reward for LanguageConsistency {
    fn name(&self) -> &str {
        "language_consistency"
    }
    fn check(&self, question: &Question) -> Result<(), String> {
        check(question)
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

    #[test]
    fn scripts_of_the_world() {
        // Language, text, words in the language, all words.
        for (language, text, matching, all) in [
            ("el", "Άρα η λύση είναι 5", 4, 4),
            ("hi", "इसलिए उत्तर पाँच है, so 5", 4, 5),
            ("hi", "क्षेत्रफल १२ है", 2, 2),
            ("ar", "إذن الجوابُ هو خمسة", 4, 4),
            ("fa", "می‌شود پنج", 2, 2),
            ("he", "לכן התשובה היא חמש", 4, 4),
            ("th", "คำตอบคือ ๕", 7, 7),
            ("ta", "எனவே விடை ஐந்து", 3, 3),
            ("bn", "সুতরাং উত্তর পাঁচ", 3, 3),
            ("ka", "ამიტომ პასუხია ხუთი", 3, 3),
            ("hy", "ուրեմն պատասխանը հինգ է", 4, 4),
            ("am", "ስለዚህ መልሱ አምስት፡ነው", 4, 4),
            ("bo", "ལན་ནི་ལྔ", 3, 3),
            ("ko", "그래서 답은 5", 5, 5),
            ("sr", "дакле odgovor", 2, 2),
            ("sr-Cyrl", "дакле odgovor", 1, 2),
            ("fr", "Donc la réponse est « cinq »", 5, 5),
            ("fr", "re\u{301}ponse", 1, 1),
            ("uk", "відповідь п’ять", 3, 3),
        ] {
            assert_eq!(count(language, text), (matching, all), "{language}: {text}");
        }
    }

    #[test]
    fn chinese_japanese_and_korean_are_told_apart() {
        let chinese = "所以这个问题的答案是五。";
        let japanese = "したがって、この問題の答えは五です。";
        let share = |language: &str, text: &str| {
            let (own, all) = count(language, text);
            own as f64 / all as f64
        };
        assert_eq!((share("zh", chinese), share("ja", japanese), share("ko", "그래서 답은 오.")), (1.0, 1.0, 1.0));
        assert_eq!((share("ja", chinese), share("ko", chinese), share("ko", japanese)), (0.0, 0.0, 0.0));
        assert!(share("zh", japanese) < 0.5);
        // One sentence of each: the Chinese one does not count, the heading does.
        assert_eq!(count("ja", "解答。所以答案是五。よって五。"), (2 + 4, 2 + 6 + 4));
    }

    #[test]
    fn code_formulas_and_symbols_are_of_no_language() {
        assert_eq!(count("zh", "设 $x+y$ 等于 \\(\\sin x\\)，即 $$a = b$$ 和 \\[c\\] 。"), (5, 5));
        assert_eq!(count("zh", "运行 `print(x)`：\n```python\nfor i in range(3):\n    pass\n```\n好"), (3, 3));
        assert_eq!(count("en", "it costs $5 and the other one $6"), (6, 6));
        assert_eq!(count("en", "the area is π r and Δ or 𝑥 alone"), (7, 7));
        assert_eq!(count("el", "η γωνία α"), (3, 3));
        assert_eq!(count("en", "Ⅳ and ½ or 〇"), (2, 2));
        // Unclosed markup is not a formula and not code, except a fence.
        assert_eq!(count("en", "a ` tick, \\( and $x more"), (5, 5));
        assert_eq!(count("en", "see ```\ncode that never ends"), (1, 1));
    }

    #[test]
    fn an_unknown_language_is_named() {
        let question = |language: &str| Question { language: language.into(), ..Question::default() };
        assert_eq!(check(&question("pt-BR")), Ok(()));
        assert!(check(&question("englisch")).unwrap_err().contains("\"englisch\""));
        assert_eq!(count("englisch", "so"), (0, 1));
    }
}
