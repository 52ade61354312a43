//! Normalizers and pre-tokenizers of the tokenizers library, with limits: regular expressions run under a budget
//! ([`super::regex`]), and the growth of a text is bounded.
//!
//! Both keep the library's own description, so saving writes what was read.

use super::regex::{BoundedRegex, fail};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pattern::Invert;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::split::SplitPattern;
use tokenizers::{NormalizedString, Normalizer as _, PreTokenizedString, Result, SplitDelimiterBehavior};

/// Maximum number of steps; published tokenizers have up to eight.
const MAX_STEPS: usize = 32;
/// Maximum growth factor of a text in normalization. SentencePiece's own table maps one letter to 33 bytes.
const MAX_GROWTH: f64 = 40.0;
/// Maximum size of a normalized text in bytes. The library uses about 32 bytes of memory for each.
const MAX_NORMALIZED: usize = 32 << 20;
/// Size of the parts, in characters, in which the growth of a long text is measured.
const MEASURED: usize = 1 << 16;
/// Maximum length of a replacement text.
const MAX_CONTENT: usize = 256;

/// A normalizer.
#[derive(Clone, Debug)]
pub(super) struct Normalizer {
    description: NormalizerWrapper,
    /// Each step with its maximum growth factor.
    steps: Vec<(NormalizerStep, f64)>,
}

#[derive(Clone, Debug)]
enum NormalizerStep {
    Library(NormalizerWrapper),
    Replace(BoundedRegex, String),
}

impl Normalizer {
    /// Converts a normalizer of the library, or explains why it is rejected.
    pub(super) fn new(description: NormalizerWrapper) -> Result<Normalizer> {
        let (mut steps, mut growth) = (Vec::new(), 1.0);
        add_normalizer(&description, &mut steps, &mut growth)?;
        if growth > MAX_GROWTH {
            let what =
                format!("the normalizer can make a text {growth} times as long; at most {MAX_GROWTH} is allowed");
            return Err(what.into());
        }
        Ok(Normalizer { description, steps })
    }
}

/// Adds the steps of a normalizer, and multiplies `growth` by the maximum growth factor of each.
fn add_normalizer(of: &NormalizerWrapper, steps: &mut Vec<(NormalizerStep, f64)>, growth: &mut f64) -> Result<()> {
    if steps.len() >= MAX_STEPS {
        return Err(format!("the normalizer has more than {MAX_STEPS} steps").into());
    }
    let mut step = NormalizerStep::Library(of.clone());
    let factor = match of {
        NormalizerWrapper::Sequence(all) => {
            return all.as_ref().iter().try_for_each(|of| add_normalizer(of, steps, growth));
        }
        NormalizerWrapper::Replace(_) => {
            let (pattern, content, is_regex) = replace_parts(of)?;
            if is_regex {
                let regex = BoundedRegex::new(&pattern)?;
                if regex.matches_nothing()? {
                    return Err(format!("the normalizer replaces `{pattern}`, which matches the empty text").into());
                }
                step = NormalizerStep::Replace(regex, content.clone());
            }
            let shortest = if is_regex { 1 } else { pattern.len() };
            (content.len() as f64 / shortest as f64).max(1.0)
        }
        // Every piece between two added tokens gets the prefix, and a piece has at least one byte.
        NormalizerWrapper::Prepend(prepend) => {
            bounded("prepend", &prepend.prepend)?;
            1.0 + prepend.prepend.len() as f64
        }
        NormalizerWrapper::Precompiled(_) => {
            let value = serde_json::to_value(of)?;
            longest_entry(value["precompiled_charsmap"].as_str().unwrap_or_default()).max(1) as f64
        }
        NormalizerWrapper::ByteLevel(_) | NormalizerWrapper::Lowercase(_) | NormalizerWrapper::BertNormalizer(_) => 2.0,
        // Unicode's forms: U+FDFA becomes 18 letters (NFKC, NFKD), U+0390 three (NFD). Applying one again has no
        // effect.
        NormalizerWrapper::NFKC(_) | NormalizerWrapper::NFKD(_) => 11.0,
        NormalizerWrapper::NFC(_) | NormalizerWrapper::NFD(_) => 3.0,
        NormalizerWrapper::StripNormalizer(_) | NormalizerWrapper::StripAccents(_) | NormalizerWrapper::Nmt(_) => 1.0,
    };
    *growth *= factor;
    steps.push((step, factor));
    Ok(())
}

/// Returns pattern and content of a `Replace`, and true if the pattern is a regular expression.
fn replace_parts(of: &impl Serialize) -> Result<(String, String, bool)> {
    // The library's fields are private, but it serializes them.
    let value = serde_json::to_value(of)?;
    let text = |v: &serde_json::Value| v.as_str().map(str::to_owned);
    let (pattern, is_regex) = match (text(&value["pattern"]["String"]), text(&value["pattern"]["Regex"])) {
        (Some(pattern), _) => (pattern, false),
        (None, regex) => (regex.unwrap_or_default(), true),
    };
    let content = text(&value["content"]).unwrap_or_default();
    bounded("content", &content)?;
    if pattern.is_empty() {
        return Err("`Replace` has an empty pattern, which matches everywhere".into());
    }
    Ok((pattern, content, is_regex))
}

fn bounded(key: &str, text: &str) -> Result<()> {
    match text.len() {
        n if n > MAX_CONTENT => Err(format!("`{key}` has {n} bytes; at most {MAX_CONTENT} are allowed").into()),
        _ => Ok(()),
    }
}

/// Returns the length of the longest replacement in SentencePiece's table (base64: the size of a trie, the trie,
/// NUL-terminated texts).
fn longest_entry(base64: &str) -> usize {
    let value = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = base64.bytes().filter(|&c| c != b'=').map(value).collect();
    let bytes: Vec<u8> = digits
        .chunks(4)
        .flat_map(|d| {
            let word = d.iter().enumerate().fold(0u32, |word, (i, &d)| word | u32::from(d) << (18 - 6 * i));
            word.to_be_bytes()[1..d.len().max(1)].to_vec()
        })
        .collect();
    let size = bytes.first_chunk().map_or(0, |size| u32::from_le_bytes(*size) as usize);
    let texts = bytes.get(size.saturating_add(4)..).unwrap_or_default();
    texts.split(|&b| b == 0).map(<[u8]>::len).max().unwrap_or(0)
}

impl NormalizerStep {
    fn run(&self, text: &mut NormalizedString) -> Result<()> {
        match self {
            NormalizerStep::Library(step) => step.normalize(text),
            NormalizerStep::Replace(regex, content) => text.replace(regex, content),
        }
    }

    /// Fails if the text would become too long. It is measured in parts, which need little memory.
    fn check(&self, text: &str) -> Result<()> {
        let (mut rest, mut length) = (text, 0);
        while !rest.is_empty() {
            let end = rest.char_indices().nth(MEASURED).map_or(rest.len(), |(at, _)| at);
            let mut part = NormalizedString::from(&rest[..end]);
            self.run(&mut part)?;
            length += part.get().len();
            if length > MAX_NORMALIZED {
                let n = text.len();
                return Err(
                    fail(format!("the normalizer turns a text of {n} bytes into more than {MAX_NORMALIZED}")).into()
                );
            }
            rest = &rest[end..];
        }
        Ok(())
    }
}

impl tokenizers::Normalizer for Normalizer {
    fn normalize(&self, text: &mut NormalizedString) -> Result<()> {
        for (step, factor) in &self.steps {
            if text.get().len() as f64 * factor > MAX_NORMALIZED as f64 {
                step.check(text.get())?;
            }
            step.run(text)?;
        }
        Ok(())
    }
}

impl Serialize for Normalizer {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.description.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Normalizer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Normalizer::new(NormalizerWrapper::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A pre-tokenizer.
#[derive(Clone, Debug)]
pub(super) struct PreTokenizer {
    description: PreTokenizerWrapper,
    steps: Vec<PreTokenizerStep>,
}

#[derive(Clone, Debug)]
enum PreTokenizerStep {
    Library(PreTokenizerWrapper),
    Split { regex: BoundedRegex, behavior: SplitDelimiterBehavior, invert: bool },
}

/// Maximum number of steps that re-encode a text with more bytes: one of each kind is enough.
const MAX_REWRITES: usize = 2;

impl PreTokenizer {
    /// Converts a pre-tokenizer of the library, or explains why it is rejected.
    pub(super) fn new(description: PreTokenizerWrapper) -> Result<PreTokenizer> {
        let mut steps = Vec::new();
        add_pre_tokenizer(&description, &mut steps)?;
        use PreTokenizerWrapper::{ByteLevel, Metaspace};
        let rewrites = |s: &&PreTokenizerStep| matches!(s, PreTokenizerStep::Library(ByteLevel(_) | Metaspace(_)));
        if steps.iter().filter(rewrites).count() > MAX_REWRITES {
            return Err(format!("the pre-tokenizer has more than {MAX_REWRITES} ByteLevel and Metaspace steps").into());
        }
        Ok(PreTokenizer { description, steps })
    }
}

fn add_pre_tokenizer(of: &PreTokenizerWrapper, steps: &mut Vec<PreTokenizerStep>) -> Result<()> {
    if steps.len() >= MAX_STEPS {
        return Err(format!("the pre-tokenizer has more than {MAX_STEPS} steps").into());
    }
    let step = match of {
        PreTokenizerWrapper::Sequence(all) => {
            return all.as_ref().iter().try_for_each(|of| add_pre_tokenizer(of, steps));
        }
        PreTokenizerWrapper::Split(split) => match &split.pattern {
            SplitPattern::String(_) => PreTokenizerStep::Library(of.clone()),
            SplitPattern::Regex(pattern) => PreTokenizerStep::Split {
                regex: BoundedRegex::new(pattern)?,
                behavior: split.behavior,
                invert: split.invert,
            },
        },
        PreTokenizerWrapper::FixedLength(fixed) if fixed.length == 0 => {
            return Err("`FixedLength` has the length 0, expected 1 or more".into());
        }
        _ => PreTokenizerStep::Library(of.clone()),
    };
    steps.push(step);
    Ok(())
}

impl tokenizers::PreTokenizer for PreTokenizer {
    fn pre_tokenize(&self, text: &mut PreTokenizedString) -> Result<()> {
        self.steps.iter().try_for_each(|step| match step {
            PreTokenizerStep::Library(step) => step.pre_tokenize(text),
            PreTokenizerStep::Split { regex, behavior, invert: true } => {
                text.split(|_, piece| piece.split(Invert(regex), *behavior))
            }
            PreTokenizerStep::Split { regex, behavior, invert: false } => {
                text.split(|_, piece| piece.split(regex, *behavior))
            }
        })
    }
}

impl Serialize for PreTokenizer {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.description.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PreTokenizer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        PreTokenizer::new(PreTokenizerWrapper::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Rejects a decoder that runs regular expressions or has unbounded growth.
pub(super) fn check_decoder(decoder: &tokenizers::DecoderWrapper) -> Result<()> {
    fn walk(decoder: &tokenizers::DecoderWrapper, steps: &mut usize, growth: &mut f64) -> Result<()> {
        use tokenizers::DecoderWrapper;
        match decoder {
            DecoderWrapper::Sequence(all) => {
                return all.get_decoders().iter().try_for_each(|decoder| walk(decoder, steps, growth));
            }
            DecoderWrapper::Replace(_) => {
                let (pattern, content, is_regex) = replace_parts(decoder)?;
                if is_regex {
                    return Err(format!(
                        "the decoder replaces the regular expression `{pattern}`; only plain strings are supported"
                    )
                    .into());
                }
                *growth *= (content.len() as f64 / pattern.len() as f64).max(1.0);
            }
            _ => {}
        }
        *steps += 1;
        match (*steps > MAX_STEPS, *growth > MAX_GROWTH) {
            (true, _) => Err(format!("the decoder has more than {MAX_STEPS} steps").into()),
            (_, true) => Err(format!("the decoder can make a text more than {MAX_GROWTH} times as long").into()),
            _ => Ok(()),
        }
    }
    walk(decoder, &mut 0, &mut 1.0)
}
