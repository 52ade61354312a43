//! The tokenizer that a GGUF file's metadata describes, rebuilt as the `tokenizer.json` it was converted from.
//!
//! Byte-level BPE (`tokenizer.ggml.model` = `gpt2`): vocabulary, merges and token types stand in the file, the
//! pre-tokenizer by a name (`tokenizer.ggml.pre`) that llama.cpp's converter found by the hash of its output
//! (llama.cpp `conversion/base.py`, `src/llama-vocab.cpp`). SentencePiece (`llama`): pieces and their scores.

mod sentencepiece;

use super::{Inner, Special, Tokenizer, guard, limits, steps};
use crate::error::Error;
use meno_model::gguf::Gguf;
use serde_json::{Value, json};
use tokenizers::models::bpe::{BPE, BpeBuilder, Vocab};
use tokenizers::{AddedToken, DecoderWrapper};

/// Qwen2's pattern; Llama 3's differs in taking up to three digits at once.
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// DeepSeek-V3's three, applied one after the other.
const DEEPSEEK_V3: [&str; 3] = [
    r"\p{N}{1,3}",
    "[一-龥\u{3040}-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
];
/// DeepSeek LLM's and V2's five, followed by single digits.
const DEEPSEEK_LLM: [&str; 5] = [
    "[\r\n]",
    "\\s?[A-Za-z\u{b5}\u{c0}-\u{d6}\u{d8}-\u{f6}\u{f8}-\u{1ba}\u{1bc}-\u{1bf}\u{1c4}-\u{293}\
     \u{295}-\u{2af}\u{370}-\u{373}\u{376}\u{377}\u{37b}-\u{37d}\u{37f}\u{386}\u{388}-\u{38a}\u{38c}\
     \u{38e}-\u{3a1}\u{3a3}-\u{3f5}\u{3f7}-\u{481}\u{48a}-\u{52f}\u{531}-\u{556}\u{10a0}-\u{10c5}\
     \u{13a0}-\u{13f5}\u{13f8}-\u{13fd}\u{1c90}-\u{1cba}\u{1cbd}-\u{1cbf}\u{1d00}-\u{1d2b}\
     \u{1d6b}-\u{1d77}\u{1d79}-\u{1d9a}\u{1e00}-\u{1f15}\u{1f18}-\u{1f1d}\u{1f20}-\u{1f45}\
     \u{1f48}-\u{1f4d}\u{1f50}-\u{1f57}\u{1f59}\u{1f5b}\u{1f5d}\u{1f5f}-\u{1f7d}\u{1f80}-\u{1fb4}\
     \u{1fb6}-\u{1fbc}\u{1fbe}\u{1fc2}-\u{1fc4}\u{1fc6}-\u{1fcc}\u{1fd0}-\u{1fd3}\u{1fd6}-\u{1fdb}\
     \u{1fe0}-\u{1fec}\u{1ff2}-\u{1ff4}\u{1ff6}-\u{1ffc}\u{2102}\u{2107}\u{210a}-\u{2113}\u{2115}\
     \u{2119}-\u{211d}\u{2124}\u{2126}\u{2128}\u{212a}-\u{212d}\u{212f}-\u{2134}\u{2139}\u{213c}-\u{213f}\
     \u{2145}-\u{2149}\u{214e}\u{2183}\u{2184}\u{2c00}-\u{2c7b}\u{2c7e}-\u{2ce4}\u{2ceb}-\u{2cee}\u{2cf2}\
     \u{2cf3}\u{a640}-\u{a66d}\u{a680}-\u{a69b}\u{a722}-\u{a76f}\u{a771}-\u{a787}\u{a78b}-\u{a78e}\
     \u{ab70}-\u{abbf}\u{fb00}-\u{fb06}\u{fb13}-\u{fb17}\u{ff21}-\u{ff3a}\u{ff41}-\u{ff5a}\
     \u{10400}-\u{1044f}\u{104b0}-\u{104d3}\u{104d8}-\u{104fb}\u{10c80}-\u{10cb2}\u{10cc0}-\u{10cf2}\
     \u{118a0}-\u{118df}\u{1e900}-\u{1e943}]+",
    "\\s?[!-/:-~\u{ff01}-\u{ff0f}\u{ff1a}-\u{ff5e}\u{2018}-\u{201f}\u{3000}-\u{3002}]+",
    "\\s+$",
    "[\u{4e00}-\u{9fa5}\u{800}-\u{4e00}\u{ac00}-\u{d7ff}]+",
];

/// All of them.
pub(super) const PUBLISHED: [&str; 10] = [
    QWEN2,
    LLAMA3,
    DEEPSEEK_V3[0],
    DEEPSEEK_V3[1],
    DEEPSEEK_V3[2],
    DEEPSEEK_LLM[0],
    DEEPSEEK_LLM[1],
    DEEPSEEK_LLM[2],
    DEEPSEEK_LLM[3],
    DEEPSEEK_LLM[4],
];

/// Token types (llama.cpp `enum llama_token_type`).
pub(super) const CONTROL: i64 = 3;
pub(super) const USER_DEFINED: i64 = 4;
pub(super) const UNUSED: i64 = 5;

/// Tokens that end an answer wherever they are control tokens, as in llama.cpp: instruct files name one
/// `eos_token_id`, but their models also end with the base model's.
const END_OF_GENERATION: [&str; 7] =
    ["<|eot_id|>", "<|im_end|>", "<|end|>", "<|endoftext|>", "<|end_of_text|>", "<|eom_id|>", "<｜end▁of▁sentence｜>"];

/// What stands for each named pre-tokenizer in `tokenizer.json`.
pub(super) struct Definition {
    normalizer: Option<&'static str>,
    pub(super) pre_tokenizers: Vec<Value>,
    pub(super) ignore_merges: bool,
    add_bos: bool,
}

fn split(pattern: &str) -> Value {
    json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false})
}

/// One name for each way to split text.
pub(super) const KNOWN: [&str; 4] = ["qwen2", "llama-bpe", "deepseek-v3", "deepseek-llm"];

pub(super) fn definition(pre: &str) -> Option<Definition> {
    let plain = |patterns: &[&str]| Definition {
        normalizer: None,
        pre_tokenizers: patterns.iter().map(|p| split(p)).collect(),
        ignore_merges: false,
        add_bos: false,
    };
    Some(match pre {
        "qwen2" | "deepseek-r1-qwen" => Definition { normalizer: Some("NFC"), ..plain(&[QWEN2]) },
        "llama-bpe" | "llama3" | "llama-v3" => Definition { ignore_merges: true, add_bos: true, ..plain(&[LLAMA3]) },
        "deepseek-v3" => plain(&DEEPSEEK_V3),
        "deepseek-llm" => {
            let mut d = plain(&DEEPSEEK_LLM);
            d.pre_tokenizers.push(json!({"type": "Digits", "individual_digits": true}));
            d
        }
        _ => return None,
    })
}

/// The tokens of the file: all texts by id, with those that are not plain vocabulary.
struct Tokens {
    texts: Vec<String>,
    types: Vec<i64>,
}

impl Tokens {
    fn read(file: &Gguf) -> Result<Tokens, Error> {
        let texts = strings(file, "tokenizer.ggml.tokens")?;
        let types: Vec<i64> = match file.integers("tokenizer.ggml.token_type").map_err(fail)? {
            Some(types) => types.collect(),
            None => vec![1; texts.len()],
        };
        limits::counts(texts.len(), 0).map_err(|e| refused(file)(&e))?;
        if types.len() != texts.len() {
            let (t, n) = (types.len(), texts.len());
            return Err(wrong(file, "tokenizer.ggml.token_type", &format!("has {t} entries for {n} tokens")));
        }
        Ok(Tokens { texts, types })
    }

    fn role(&self, file: &Gguf, key: &str) -> Result<Option<(String, u32)>, Error> {
        let Some(id) = file.opt_u64(key).map_err(fail)? else { return Ok(None) };
        let text = usize::try_from(id).ok().and_then(|i| self.texts.get(i));
        let text = text.ok_or_else(|| wrong(file, key, &format!("is {id}, of {} tokens", self.texts.len())))?;
        Ok(Some((text.clone(), id as u32)))
    }

    fn special(&self, file: &Gguf, add_bos: bool) -> Result<Special, Error> {
        let mut eos: Vec<(String, u32)> = Vec::new();
        let mut add = |token: (String, u32)| {
            if !eos.contains(&token) {
                eos.push(token);
            }
        };
        for role in ["eos", "eot", "eom"] {
            self.role(file, &format!("tokenizer.ggml.{role}_token_id"))?.map(&mut add);
        }
        let control = self.texts.iter().zip(&self.types).enumerate().filter(|(_, (_, t))| **t == CONTROL);
        for (id, (text, _)) in control.filter(|(_, (text, _))| END_OF_GENERATION.contains(&text.as_str())) {
            add((text.clone(), id as u32));
        }
        Ok(Special {
            bos: self.role(file, "tokenizer.ggml.bos_token_id")?,
            pad: self.role(file, "tokenizer.ggml.padding_token_id")?,
            eos,
            add_bos: file.opt_bool("tokenizer.ggml.add_bos_token").map_err(fail)?.unwrap_or(add_bos),
        })
    }
}

impl Tokenizer {
    /// The tokenizer of a GGUF file.
    pub fn from_gguf(file: &Gguf) -> Result<Tokenizer, Error> {
        let tokens = Tokens::read(file)?;
        let (special, inner) = match file.str("tokenizer.ggml.model").map_err(fail)? {
            "gpt2" => {
                let pre = file.str("tokenizer.ggml.pre").map_err(fail)?;
                let definition = definition(pre).ok_or_else(|| {
                    let known = "qwen2, deepseek-r1-qwen, deepseek-llm, deepseek-v3 and llama-bpe are read";
                    wrong(file, "tokenizer.ggml.pre", &format!("is {pre:?}; {known}"))
                })?;
                (tokens.special(file, definition.add_bos)?, byte_level(file, &definition, tokens)?)
            }
            "llama" => (tokens.special(file, true)?, sentencepiece(file, tokens)?),
            other => {
                let known = "gpt2 (byte-level BPE) and llama (SentencePiece) are read";
                return Err(wrong(file, "tokenizer.ggml.model", &format!("is {other:?}; {known}")));
            }
        };
        Tokenizer::from_parts(inner, special).map_err(|e| refused(file)(&e))
    }
}

/// Opens a GGUF file.
pub(crate) fn open(path: &std::path::Path) -> Result<Gguf, Error> {
    Gguf::open(path).map_err(fail)
}

/// The chat template of a GGUF file.
pub fn chat_template(file: &Gguf) -> Result<Option<&str>, Error> {
    file.opt_str("tokenizer.chat_template").map_err(fail)
}

fn refused(file: &Gguf) -> impl Fn(&dyn std::fmt::Display) -> Error {
    |e| Error::file(file.path(), format!("its tokenizer is refused: {e}"))
}

fn sentencepiece(file: &Gguf, tokens: Tokens) -> Result<Inner, Error> {
    let refused = refused(file);
    let key = "tokenizer.ggml.scores";
    let scores: Vec<f32> = file.floats(key).map_err(fail)?.ok_or_else(|| wrong(file, key, "is missing"))?.collect();
    if scores.len() != tokens.texts.len() {
        return Err(wrong(file, key, &format!("has {} entries for {} tokens", scores.len(), tokens.texts.len())));
    }
    let unknown = tokens.role(file, "tokenizer.ggml.unknown_token_id")?;
    let unknown = unknown.or_else(|| tokens.texts.first().map(|t| (t.clone(), 0)));
    let merges = sentencepiece::merges(&tokens.texts, &tokens.types, &scores).map_err(|e| refused(&e))?;
    let (mut added, mut vocab) = (Vec::new(), Vocab::default());
    for (id, (text, kind)) in tokens.texts.into_iter().zip(tokens.types).enumerate() {
        if kind == UNUSED || text.is_empty() {
            continue;
        }
        added.extend(
            sentencepiece::added(kind).map(|special| AddedToken::from(text.clone(), special).normalized(false)),
        );
        vocab.entry(text).or_insert(id as u32);
    }
    let mut bpe = BPE::builder().vocab_and_merges(vocab, merges).fuse_unk(true).byte_fallback(true);
    if let Some((text, _)) = unknown {
        bpe = bpe.unk_token(text);
    }
    let mut inner = Inner::new(built(bpe).map_err(|e| refused(&e))?.into());
    let space_before = file.opt_bool("tokenizer.ggml.add_space_prefix").map_err(fail)?.unwrap_or(true);
    let parsed = serde_json::from_value::<steps::Normalizer>(sentencepiece::normalizer(space_before));
    inner.with_normalizer(Some(parsed.map_err(|e| refused(&e))?));
    let parsed = serde_json::from_value::<DecoderWrapper>(sentencepiece::decoder(space_before));
    inner.with_decoder(Some(parsed.map_err(|e| refused(&e))?));
    limits::added(added.iter().map(|t| t.content.len())).map_err(|e| refused(&e))?;
    guard::guarded(|| inner.add_tokens(&added)).map_err(|e| refused(&e))?;
    Ok(inner)
}

fn byte_level(file: &Gguf, definition: &Definition, tokens: Tokens) -> Result<Inner, Error> {
    let refused = refused(file);
    let merges = strings(file, "tokenizer.ggml.merges")?;
    limits::counts(0, merges.len()).map_err(|e| refused(&e))?;
    let merges = merges.iter().map(|merge| {
        // A token starts with anything but a space (which is written Ġ), so the first space parts the two.
        let (a, b) = merge.split_once(' ').ok_or_else(|| wrong(file, "tokenizer.ggml.merges", "holds no pair"))?;
        Ok((a.to_owned(), b.to_owned()))
    });
    let merges = merges.collect::<Result<Vec<_>, Error>>()?;

    let (mut added, mut vocab) = (Vec::new(), Vocab::default());
    for (id, (text, kind)) in tokens.texts.into_iter().zip(tokens.types).enumerate() {
        // Unused tokens fill the embedding up to its size; the tokenizer never had them.
        if kind == UNUSED || text.is_empty() {
            continue;
        }
        if kind == CONTROL || kind == USER_DEFINED {
            added.push(AddedToken::from(text.clone(), kind == CONTROL).normalized(false));
        }
        // Of two tokens with one text, the first is the one that encoding gives.
        vocab.entry(text).or_insert(id as u32);
    }
    let bpe = BPE::builder().vocab_and_merges(vocab, merges).ignore_merges(definition.ignore_merges);
    let mut inner = Inner::new(built(bpe).map_err(|e| refused(&e))?.into());

    let mut steps = definition.pre_tokenizers.clone();
    steps.push(json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false}));
    let steps = json!({"type": "Sequence", "pretokenizers": steps});
    let parsed = serde_json::from_value::<steps::PreTokenizer>(steps).map_err(|e| refused(&e))?;
    inner.with_pre_tokenizer(Some(parsed));
    if let Some(kind) = definition.normalizer {
        let parsed = serde_json::from_value::<steps::Normalizer>(json!({"type": kind})).map_err(|e| refused(&e))?;
        inner.with_normalizer(Some(parsed));
    }
    let decoder = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false});
    inner.with_decoder(Some(serde_json::from_value::<DecoderWrapper>(decoder).map_err(|e| refused(&e))?));
    limits::added(added.iter().map(|t| t.content.len())).map_err(|e| refused(&e))?;
    guard::guarded(|| inner.add_tokens(&added)).map_err(|e| refused(&e))?;
    Ok(inner)
}

fn built(bpe: BpeBuilder) -> Result<BPE, String> {
    guard::guarded(|| bpe.build().map_err(|e| e.to_string()))?
}

fn strings(file: &Gguf, key: &str) -> Result<Vec<String>, Error> {
    let strings = file.strings(key).map_err(fail)?.ok_or_else(|| wrong(file, key, "is missing"))?;
    strings.map(|s| s.map(str::to_owned).map_err(fail)).collect()
}

fn fail(error: meno_model::gguf::Error) -> Error {
    Error::Tokenizer(error.to_string())
}

fn wrong(file: &Gguf, key: &str, what: &str) -> Error {
    Error::file(file.path(), format!("metadata key `{key}` {what}"))
}
