//! Tokenizers of Hugging Face directories (`tokenizer.json`, `tokenizer_config.json`), run by the tokenizers library,
//! so that a text gets the same ids as in Python.

mod bytes;
mod character;
pub mod gguf;
mod guard;
mod limits;
mod load;
mod pre_tokenizers;
mod regex;
mod steps;
mod stream;
mod to_gguf;
mod token_type;

pub use bytes::TokenBytes;
pub use character::CharacterLevel;
pub(crate) use load::read_json;
pub use stream::DecodeStream;
pub use to_gguf::add_tokenizer;

use crate::error::Error;
use std::path::Path;
use tokenizers::{DecoderWrapper, ModelWrapper, PostProcessorWrapper, TokenizerImpl};

/// The library's tokenizer, with bounded steps.
type Inner = TokenizerImpl<ModelWrapper, steps::Normalizer, steps::PreTokenizer, PostProcessorWrapper, DecoderWrapper>;

/// Converts text to token ids and back.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Inner,
    special: Special,
    /// The largest id plus 1.
    ids: usize,
    /// Added tokens that search backwards through the text.
    looking_back: Vec<String>,
}

/// Maximum number of bytes that added tokens may search backwards in one text.
const MAX_LOOKED_BACK: usize = 1 << 30;

/// Tokens with a special role, as text and id.
#[derive(Clone, Debug, Default)]
pub struct Special {
    /// The token that begins a text.
    pub bos: Option<(String, u32)>,
    /// Tokens that end an answer; the first is the canonical one.
    pub eos: Vec<(String, u32)>,
    /// The padding token.
    pub pad: Option<(String, u32)>,
    /// True if encoding with special tokens prepends `bos`.
    pub add_bos: bool,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("vocab_size", &self.vocab_size()).field("special", &self.special).finish()
    }
}

impl Tokenizer {
    /// Creates a tokenizer from the text of a `tokenizer.json` and its special tokens.
    pub fn from_json(json: &str, special: Special) -> Result<Tokenizer, Error> {
        let inner = parse(json.as_bytes()).map_err(Error::Tokenizer)?;
        Tokenizer::from_parts(inner, special).map_err(Error::Tokenizer)
    }

    /// Checks limits that involve several parts together.
    fn from_parts(inner: Inner, special: Special) -> Result<Tokenizer, String> {
        if let Some(decoder) = inner.get_decoder() {
            steps::check_decoder(decoder).map_err(|e| e.to_string())?;
        }
        let largest = inner.get_vocab(true).values().copied().max();
        limits::ids(inner.get_vocab_size(true), largest.map(u64::from))?;
        let added = inner.get_added_tokens_decoder().into_values();
        let looking_back = added.filter(|t| t.lstrip || t.single_word).map(|t| t.content).collect();
        Ok(Tokenizer { inner, special, ids: largest.map_or(0, |id| id as usize + 1), looking_back })
    }

    /// Writes `tokenizer.json` and `tokenizer_config.json` in the format of Python's tokenizers and transformers.
    /// `chat_template` goes into the latter.
    pub fn save(&self, dir: &Path, chat_template: Option<&str>) -> Result<(), Error> {
        std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
        self.files(chat_template)?.iter().try_for_each(|(name, text)| write(&dir.join(name), text))
    }

    /// Returns the files that [`Tokenizer::save`] writes, by name.
    pub fn files(&self, chat_template: Option<&str>) -> Result<[(&'static str, String); 2], Error> {
        let json = self.inner.to_string(true).map_err(|e| Error::Tokenizer(e.to_string()))?;
        let mut config = serde_json::json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": false,
        });
        let text = |t: &Option<(String, u32)>| t.as_ref().map(|t| t.0.clone());
        let eos = self.special.eos.first().cloned();
        for (key, value) in [
            ("bos_token", text(&self.special.bos)),
            ("eos_token", text(&eos)),
            ("pad_token", text(&self.special.pad)),
            ("chat_template", chat_template.map(str::to_owned)),
        ] {
            if let Some(value) = value {
                config[key] = value.into();
            }
        }
        if self.special.add_bos {
            config["add_bos_token"] = true.into();
        }
        Ok([("tokenizer.json", json), ("tokenizer_config.json", format!("{config:#}\n"))])
    }

    /// Returns the ids of `text`. Special tokens written out in it are recognized, as in Python. `add_special` adds the
    /// tokens that the tokenizer puts around every text.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, Error> {
        self.check_looking_back(text)?;
        let encode = || regex::within_budget(text.len(), || self.inner.encode_fast(text, add_special));
        let encoded = guard::guarded(encode).map_err(Error::Tokenizer)?;
        let encoding = encoded.flatten().map_err(|e| Error::Tokenizer(e.to_string()))?;
        let mut ids = encoding.get_ids().to_vec();
        if let (true, true, Some((_, bos))) = (add_special, self.special.add_bos, &self.special.bos)
            && ids.first() != Some(bos)
        {
            ids.insert(0, *bos);
        }
        Ok(ids)
    }

    /// Limits backward searches: the library searches all the text before each token with `lstrip` or `single_word`.
    fn check_looking_back(&self, text: &str) -> Result<(), Error> {
        let found: usize = self.looking_back.iter().map(|token| text.matches(token.as_str()).count()).sum();
        if found.saturating_mul(text.len()) <= MAX_LOOKED_BACK {
            return Ok(());
        }
        let (length, token) = (text.len(), &self.looking_back[0]);
        Err(Error::Tokenizer(format!(
            "a text of {length} bytes holds {found} tokens like {token:?} with `lstrip` or `single_word`, each of \
             which searches all the text before it; shorten the text, or remove these keys from tokenizer.json"
        )))
    }

    /// Returns the text of `ids`; unknown ids are skipped.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        guard::guarded(|| self.inner.decode(ids, skip_special).unwrap_or_default()).unwrap_or_default()
    }

    /// Returns the id of a token, given its text in the vocabulary.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Returns the text of a token in the vocabulary (byte-level tokenizers write bytes as letters).
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Returns the number of tokens, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Returns the largest token id plus 1. It is larger than [`Tokenizer::vocab_size`] if the ids have gaps. Network
    /// rows from here on correspond to no token ([`Sampling::vocab_size`](crate::Sampling::vocab_size)).
    pub fn id_bound(&self) -> usize {
        self.ids
    }

    /// Returns the tokens with a special role.
    pub fn special(&self) -> &Special {
        &self.special
    }

    /// Returns the token that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.special.bos.as_ref().map(|t| t.1)
    }

    /// Returns the tokens that end an answer.
    pub fn eos(&self) -> Vec<u32> {
        self.special.eos.iter().map(|t| t.1).collect()
    }
}

/// Creates the library's tokenizer from a `tokenizer.json` after checking its sizes. Padding and truncation are
/// ignored, as in transformers unless they are requested.
fn parse(json: &[u8]) -> Result<Inner, String> {
    limits::check(json)?;
    let parsed = guard::guarded(|| serde_json::from_slice::<Inner>(json))?;
    let mut inner = parsed.map_err(|e| e.to_string())?;
    inner.with_padding(None);
    inner.with_truncation(None).map_err(|e| e.to_string())?;
    Ok(inner)
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text).map_err(Error::io(path))
}
