//! The scripts of languages, by ISO 639 code or BCP 47 tag.
//!
//! The table comes from Unicode's CLDR (`languages.txt`, made by `dev/reference/languages.py`): over 7,000 languages,
//! the codes of ISO 639-1, -2 and -3, and the regions that write a language in another script (`pa-PK`).

use std::collections::HashMap;
use std::sync::LazyLock;
use unicode_script::Script;

/// `{scripts}:` lines, each followed by lines of language codes.
const TABLE: &str = include_str!("languages.txt");

static SCRIPTS: LazyLock<HashMap<&'static str, &'static [Script]>> = LazyLock::new(|| {
    let mut table = HashMap::new();
    let mut scripts: &'static [Script] = &[];
    for line in TABLE.lines().filter(|l| !l.starts_with('#')) {
        match line.strip_suffix(':') {
            Some(names) => {
                let known: Vec<Script> = names.split(' ').filter_map(Script::from_short_name).collect();
                scripts = known.leak();
            }
            None => table.extend(line.split_whitespace().map(|code| (code, scripts))),
        }
    }
    table
});

/// Returns the scripts of a language: an ISO 639 code (`en`, `zho`), or a BCP 47 tag, whose script and region are used
/// (`sr-Latn`, `pa-PK`). `None` if the language or the script is unknown.
pub fn scripts(tag: &str) -> Option<Vec<Script>> {
    let tag = tag.to_ascii_lowercase();
    let mut subtags = tag.split(['-', '_']);
    let language = subtags.next()?;
    let of_language = SCRIPTS.get(language)?;
    let rest: Vec<&str> = subtags.collect();
    if let Some(script) = rest.iter().find(|s| s.len() == 4 && s.bytes().all(|b| b.is_ascii_alphabetic())) {
        return named(script);
    }
    let region = rest.iter().find(|s| matches!(s.len(), 2 | 3));
    let of_region = region.and_then(|region| SCRIPTS.get(format!("{language}-{region}").as_str()));
    Some(of_region.unwrap_or(of_language).to_vec())
}

/// Returns the scripts of an ISO 15924 code, which may denote several (`jpan`) or a variant of one (`hans`).
fn named(code: &str) -> Option<Vec<Script>> {
    Some(match code {
        "hans" | "hant" => vec![Script::Han],
        "hanb" => vec![Script::Han, Script::Bopomofo],
        "jpan" => vec![Script::Han, Script::Hiragana, Script::Katakana],
        "hrkt" => vec![Script::Hiragana, Script::Katakana],
        // If Han were included, an answer in Chinese would count as Korean.
        "kore" => vec![Script::Hangul],
        "latf" | "latg" => vec![Script::Latin],
        "aran" => vec![Script::Arabic],
        "cyrs" => vec![Script::Cyrillic],
        "geok" => vec![Script::Georgian],
        _ => vec![Script::from_short_name(&format!("{}{}", code[..1].to_ascii_uppercase(), &code[1..]))?],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Script::*;

    #[test]
    fn languages_have_their_scripts() {
        for (tag, expected) in [
            ("en", vec![Latin]),
            ("eng", vec![Latin]),
            ("en-US", vec![Latin]),
            ("zh", vec![Han]),
            ("zho", vec![Han]),
            ("chi", vec![Han]),
            ("cmn", vec![Han]),
            ("zh-TW", vec![Han]),
            ("zh_Hant_HK", vec![Han]),
            ("ja", vec![Han, Hiragana, Katakana]),
            ("jpn", vec![Han, Hiragana, Katakana]),
            ("ko", vec![Hangul]),
            ("ru", vec![Cyrillic]),
            ("sr", vec![Cyrillic, Latin]),
            ("sr-Latn", vec![Latin]),
            ("SR-CYRL-RS", vec![Cyrillic]),
            ("pa", vec![Gurmukhi]),
            ("pa-PK", vec![Arabic]),
            ("uz", vec![Arabic, Cyrillic, Latin]),
            ("ar", vec![Arabic]),
            ("fa", vec![Arabic]),
            ("he", vec![Hebrew]),
            ("iw", vec![Hebrew]),
            ("hi", vec![Devanagari]),
            ("ta", vec![Tamil]),
            ("th", vec![Thai]),
            ("el", vec![Greek]),
            ("am", vec![Ethiopic]),
            ("ka", vec![Georgian]),
            ("hy", vec![Armenian]),
            ("bo", vec![Tibetan]),
            ("chr", vec![Cherokee]),
            ("vai", vec![Latin, Vai]),
            ("de-Latf", vec![Latin]),
        ] {
            let mut found = scripts(tag).unwrap_or_else(|| panic!("{tag} is unknown"));
            let mut expected = expected;
            found.sort_by_key(|s| s.full_name());
            expected.sort_by_key(|s| s.full_name());
            assert_eq!(found, expected, "{tag}");
        }
    }

    #[test]
    fn what_is_no_language_is_refused() {
        for tag in ["", "xx", "english", "e", "12", "und", "en-Abcd", "-", "zh-Zzzq"] {
            assert_eq!(scripts(tag), None, "{tag}");
        }
    }

    #[test]
    fn every_script_of_the_table_is_known() {
        for names in TABLE.lines().filter_map(|l| l.strip_suffix(':')) {
            for name in names.split(' ') {
                assert!(Script::from_short_name(name).is_some(), "{name}");
            }
        }
        assert!(SCRIPTS.len() > 7000, "{}", SCRIPTS.len());
    }
}
