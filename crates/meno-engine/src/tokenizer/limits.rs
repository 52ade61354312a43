//! Size limits of a `tokenizer.json`, checked before the tokenizers library reads it. Larger files would be slow or
//! take unbounded memory. Published tokenizers are far below every limit.

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Maximum size of the file in bytes. Gemma 3's has 33 MB.
pub(super) const MAX_FILE: u64 = 128 << 20;
/// Maximum number of tokens of the vocabulary and of merges. Gemma 3 has 262,144 and 514,906.
const MAX_TOKENS: usize = 1 << 20;
const MAX_MERGES: usize = 1 << 21;
/// Maximum total bytes of the tokens of a Unigram vocabulary; each byte becomes a node of about 150 bytes. XLM-R has 2
/// MB.
const MAX_UNIGRAM_BYTES: usize = 4 << 20;
/// Maximum bytes of one token of a Unigram vocabulary; the time per byte of text grows with it.
const MAX_UNIGRAM_TOKEN: usize = 256;
/// Maximum characters of a word that WordPiece splits; the time is quadratic in it. BERT has 100.
const MAX_WORD: u64 = 200;
/// Maximum number of unused ids. Padded vocabularies have gaps, and tables indexed by id have entries for them too.
const MAX_GAPS: usize = 1 << 20;
/// Maximum number of added tokens, of their total bytes, and of the bytes of one. They become one automaton. Gemma 3
/// has 6,415 with 77 kB.
const MAX_ADDED: usize = 1 << 15;
const MAX_ADDED_BYTES: usize = 1 << 19;
const MAX_ADDED_TOKEN: usize = 1 << 12;
/// Maximum number of JSON values that describe the normalizer, pre-tokenizer, post-processor and decoder.
const MAX_VALUES: usize = 1 << 12;
/// Maximum bytes of a text in that description, and maximum nesting of its parentheses; the longest published pattern
/// has 1.5 kB. SentencePiece tables, which are not patterns, have their own limit; published ones have 320 kB.
const MAX_TEXT: usize = 1 << 14;
const MAX_NESTING: usize = 64;
const MAX_TABLE: usize = 4 << 20;

/// Reads only the sizes of a `tokenizer.json`; fails at the first that is too large.
pub(super) fn check(json: &[u8]) -> Result<(), String> {
    let file: File = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    added(file.added_tokens.iter().map(|t| t.content.len()))?;
    let largest = file.model.vocab.largest.max(file.added_tokens.iter().filter_map(|t| t.id).max());
    ids(file.model.vocab.tokens + file.added_tokens.len(), largest)?;
    file.model.check()
}

/// Fails if the added tokens with these lengths are too many or too long.
pub(super) fn added(lengths: impl Iterator<Item = usize>) -> Result<(), String> {
    let (mut count, mut bytes) = (0, 0usize);
    for length in lengths {
        (count, bytes) = (count + 1, bytes.saturating_add(length));
        if length > MAX_ADDED_TOKEN {
            return Err(format!("an added token has {length} bytes; at most {MAX_ADDED_TOKEN} are allowed"));
        }
    }
    if count > MAX_ADDED || bytes > MAX_ADDED_BYTES {
        let most = format!("at most {MAX_ADDED} with {MAX_ADDED_BYTES} bytes are allowed");
        return Err(format!("there are {count} added tokens with {bytes} bytes; {most}"));
    }
    Ok(())
}

/// Fails if a vocabulary has more tokens or merges than the limits allow.
pub(super) fn counts(tokens: usize, merges: usize) -> Result<(), String> {
    for (what, count, most) in [("tokens", tokens, MAX_TOKENS), ("merges", merges, MAX_MERGES)] {
        if count > most {
            return Err(format!("the vocabulary has {count} {what}; at most {most} are allowed"));
        }
    }
    Ok(())
}

/// Fails if the largest id is far above the number of tokens.
pub(super) fn ids(tokens: usize, largest: Option<u64>) -> Result<(), String> {
    let bound = 4 * tokens + MAX_GAPS;
    match largest {
        Some(id) if id >= bound as u64 => {
            Err(format!("a token has the id {id}; with {tokens} tokens, ids must be below {bound}"))
        }
        _ => Ok(()),
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default, rename = "normalizer")]
    _normalizer: Description,
    #[serde(default, rename = "pre_tokenizer")]
    _pre_tokenizer: Description,
    #[serde(default, rename = "post_processor")]
    _post_processor: Description,
    #[serde(default, rename = "decoder")]
    _decoder: Description,
    model: Model,
}

#[derive(Deserialize)]
struct Added {
    #[serde(default)]
    id: Option<u64>,
    content: String,
}

#[derive(Deserialize)]
struct Model {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    vocab: Vocabulary,
    #[serde(default)]
    merges: Merges,
    #[serde(default)]
    dropout: Option<f64>,
    #[serde(default)]
    max_input_chars_per_word: Option<u64>,
}

impl Model {
    fn check(&self) -> Result<(), String> {
        if self.dropout.is_some_and(|p| p != 0.0) {
            return Err("`model.dropout` is set: the same text would get different tokens each time; remove it".into());
        }
        if self.max_input_chars_per_word.is_some_and(|n| n > MAX_WORD) {
            return Err(format!("`model.max_input_chars_per_word` is above {MAX_WORD}"));
        }
        counts(self.vocab.tokens, self.merges.0)?;
        // A Unigram vocabulary is a list. The library recognizes it even if `type` is missing.
        let unigram = self.kind.as_deref() == Some("Unigram") || self.vocab.is_list;
        if unigram && (self.vocab.bytes > MAX_UNIGRAM_BYTES || self.vocab.longest > MAX_UNIGRAM_TOKEN) {
            let (bytes, longest) = (self.vocab.bytes, self.vocab.longest);
            return Err(format!(
                "the Unigram vocabulary has {bytes} bytes, {longest} of them in one token; at most {MAX_UNIGRAM_BYTES} \
                 and {MAX_UNIGRAM_TOKEN} are allowed"
            ));
        }
        Ok(())
    }
}

/// The sizes of a vocabulary: an object from tokens to ids, or a list of tokens and scores.
#[derive(Default)]
struct Vocabulary {
    is_list: bool,
    tokens: usize,
    bytes: usize,
    longest: usize,
    largest: Option<u64>,
}

impl Vocabulary {
    fn add<E: Error>(&mut self, length: usize) -> Result<(), E> {
        (self.tokens, self.bytes) = (self.tokens + 1, self.bytes + length);
        self.longest = self.longest.max(length);
        counts(self.tokens, 0).map_err(E::custom)
    }
}

/// The number of merges; the merges are not stored.
#[derive(Default)]
struct Merges(usize);

impl<'de> Deserialize<'de> for Merges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Merges;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of merges")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Merges, A::Error> {
                let mut count = 0;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Merges(count))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

/// The length of a string; the string is not stored.
struct Length(usize);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Length;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a token")
            }
            fn visit_str<E>(self, text: &str) -> Result<Length, E> {
                Ok(Length(text.len()))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// The length of a token that comes with a score; further items are ignored.
struct Scored(usize);

impl<'de> Deserialize<'de> for Scored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pair;
        impl<'de> Visitor<'de> for Pair {
            type Value = Scored;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a token and its score")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Scored, A::Error> {
                let Length(length) = pair.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
                while pair.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scored(length))
            }
        }
        deserializer.deserialize_seq(Pair)
    }
}

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sizes;
        impl<'de> Visitor<'de> for Sizes {
            type Value = Vocabulary;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a vocabulary: an object from tokens to ids, or a list of tokens and scores")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocabulary, A::Error> {
                let mut vocab = Vocabulary::default();
                while let Some((Length(length), id)) = map.next_entry::<Length, u64>()? {
                    vocab.add(length)?;
                    vocab.largest = vocab.largest.max(Some(id));
                }
                Ok(vocab)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vocabulary, A::Error> {
                let mut vocab = Vocabulary { is_list: true, ..Vocabulary::default() };
                while let Some(Scored(length)) = list.next_element()? {
                    vocab.add(length)?;
                }
                Ok(vocab)
            }
        }
        deserializer.deserialize_any(Sizes)
    }
}

/// A section of the file whose values are counted and whose texts are limited.
#[derive(Default)]
struct Description;

impl<'de> Deserialize<'de> for Description {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Count { values: &mut 0, longest: MAX_TEXT }.deserialize(deserializer).map(|()| Description)
    }
}

/// Counts the JSON values in a value.
struct Count<'a> {
    values: &'a mut usize,
    longest: usize,
}

impl Count<'_> {
    fn add<E: Error>(self) -> Result<(), E> {
        *self.values += 1;
        match *self.values {
            n if n > MAX_VALUES => Err(E::custom(format!("this part has more than {MAX_VALUES} values"))),
            _ => Ok(()),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Count<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Count<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any JSON")
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.add()
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.add()
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.add()
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.add()
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.add()
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if text.len() > self.longest {
            let (n, longest) = (text.len(), self.longest);
            return Err(E::custom(format!("a string has {n} bytes; at most {longest} are allowed here")));
        }
        if nesting(text) > MAX_NESTING {
            return Err(E::custom(format!("a pattern is nested more than {MAX_NESTING} levels deep")));
        }
        self.add()
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Count { values: self.values, longest: self.longest })?.is_some() {}
        self.add()
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let longest = if key == "precompiled_charsmap" { MAX_TABLE } else { self.longest };
            map.next_value_seed(Count { values: self.values, longest })?;
        }
        self.add()
    }
}

/// Returns the maximum nesting depth of parentheses and brackets. Escaped ones count too.
fn nesting(pattern: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    for c in pattern.bytes() {
        match c {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn with(key: &str, value: Value) -> Result<(), String> {
        let mut file =
            json!({"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}});
        *file.pointer_mut(key).unwrap_or(&mut Value::Null) = value.clone();
        if let Some(key) = key.strip_prefix("/").filter(|key| !key.contains('/')) {
            file[key] = value;
        }
        check(file.to_string().as_bytes())
    }

    #[test]
    fn every_limit_holds() {
        assert_eq!(with("/normalizer", Value::Null), Ok(()));
        let token = |text: String, id: u64| json!({"id": id, "content": text, "special": true});
        let tokens = |n: u64| (0..n).map(|i| token(format!("<{i}>"), i)).collect::<Vec<_>>();
        let sequence = |n: usize| json!({"type": "Sequence", "normalizers": vec![json!({"type": "NFC"}); n]});
        let split =
            |p: String| json!({"type": "Split", "pattern": {"Regex": p}, "behavior": "Isolated", "invert": false});
        let unigram = |token: String| json!({"type": "Unigram", "vocab": [["<unk>", 0.0], [token, -1.0]], "unk_id": 0});
        for (key, good, bad, what) in [
            ("/added_tokens", json!(tokens(6000)), json!(tokens(40_000)), "40000 added tokens"),
            (
                "/added_tokens",
                json!([token("x".repeat(4000), 1)]),
                json!([token("x".repeat(5000), 1)]),
                "has 5000 bytes",
            ),
            (
                "/added_tokens",
                json!([token("x".into(), 9)]),
                json!([token("x".into(), 1 << 40)]),
                "the id 1099511627776",
            ),
            ("/normalizer", sequence(20), sequence(10_000), "more than 4096 values"),
            ("/pre_tokenizer", split("a".repeat(9000)), split("a".repeat(20_000)), "has 20000 bytes"),
            ("/pre_tokenizer", split("(".repeat(60)), split("(".repeat(65)), "nested more than 64"),
            ("/model", unigram("a".repeat(200)), unigram("a".repeat(300)), "300 of them in one token"),
            ("/model/vocab", json!({"a": 7}), json!({"a": 4_000_000_000u64}), "the id 4000000000"),
            ("/model", json!({"vocab": {}, "dropout": 0.0}), json!({"vocab": {}, "dropout": 0.1}), "dropout"),
        ] {
            assert_eq!(with(key, good), Ok(()), "{key}");
            let error = with(key, bad).unwrap_err();
            assert!(error.contains(what), "{key}: {error}");
        }
    }
}
