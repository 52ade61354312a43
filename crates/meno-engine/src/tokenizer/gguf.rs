//! Rebuilds the `tokenizer.json` that the metadata of a GGUF file was converted from.
//!
//! Byte-level BPE (`tokenizer.ggml.model` = `gpt2`): the file contains vocabulary, merges and token types, and names
//! the pre-tokenizer (`tokenizer.ggml.pre`, see `pre_tokenizers.rs`). SentencePiece (`llama`): the file contains pieces
//! and their scores. If a file contains the whole `tokenizer.json` (`tokenizer.huggingface.json`), that is used.

mod sentencepiece;

use super::pre_tokenizers::{self, Definition, definition};
use super::token_type::{CONTROL, NORMAL, UNUSED, USER_DEFINED};
use super::{Inner, Special, Tokenizer, guard, limits, steps};
use crate::error::Error;
use meno_model::gguf::Gguf;
use serde_json::json;
use tokenizers::models::bpe::{BPE, BpeBuilder, Vocab};
use tokenizers::{AddedToken, DecoderWrapper};

/// Tokens that end an answer if they are control tokens, as in llama.cpp. Instruct files name one `eos_token_id`, but
/// their models also use the base model's end token.
const END_OF_GENERATION: [&str; 7] =
    ["<|eot_id|>", "<|im_end|>", "<|end|>", "<|endoftext|>", "<|end_of_text|>", "<|eom_id|>", "<｜end▁of▁sentence｜>"];

/// The tokens of the file: all texts by id, and the tokens outside the plain vocabulary.
struct Tokens {
    texts: Vec<String>,
    types: Vec<i64>,
}

impl Tokens {
    fn read(file: &Gguf) -> Result<Tokens, Error> {
        let texts = strings(file, "tokenizer.ggml.tokens")?;
        let types: Vec<i64> = match file.integers("tokenizer.ggml.token_type").map_err(fail)? {
            Some(types) => types.collect(),
            None => vec![NORMAL; texts.len()],
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
        let text =
            text.ok_or_else(|| wrong(file, key, &format!("is {id}, but there are only {} tokens", self.texts.len())))?;
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
    /// Creates the tokenizer of a GGUF file.
    pub fn from_gguf(file: &Gguf) -> Result<Tokenizer, Error> {
        let tokens = Tokens::read(file)?;
        let (special, inner) = match file.str("tokenizer.ggml.model").map_err(fail)? {
            "gpt2" => {
                // A missing key means `default`, as in llama.cpp.
                let pre = file.opt_str("tokenizer.ggml.pre").map_err(fail)?.unwrap_or("default");
                let definition = definition(pre).ok_or_else(|| {
                    let known = pre_tokenizers::names().collect::<Vec<_>>().join(", ");
                    wrong(file, "tokenizer.ggml.pre", &format!("is {pre:?}; supported are {known}"))
                })?;
                let inner = match file.opt_str("tokenizer.huggingface.json").map_err(fail)? {
                    Some(json) => super::parse(json.as_bytes()).map_err(|e| refused(file)(&e))?,
                    None => byte_level(file, definition, &tokens)?,
                };
                (tokens.special(file, definition.add_bos)?, inner)
            }
            "llama" => (tokens.special(file, true)?, sentencepiece(file, tokens)?),
            other => {
                let known = "supported are gpt2 (byte-level BPE) and llama (SentencePiece)";
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

/// Returns the chat template of a GGUF file.
pub fn chat_template(file: &Gguf) -> Result<Option<&str>, Error> {
    file.opt_str("tokenizer.chat_template").map_err(fail)
}

fn refused(file: &Gguf) -> impl Fn(&dyn std::fmt::Display) -> Error {
    |e| Error::file(file.path(), format!("its tokenizer cannot be used: {e}"))
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

fn byte_level(file: &Gguf, definition: &Definition, tokens: &Tokens) -> Result<Inner, Error> {
    let refused = refused(file);
    let merges = strings(file, "tokenizer.ggml.merges")?;
    limits::counts(0, merges.len()).map_err(|e| refused(&e))?;
    let merges = merges.iter().map(|merge| {
        // No token begins with a plain space (it is written Ġ), so the first space separates the two tokens.
        let (a, b) = merge
            .split_once(' ')
            .ok_or_else(|| wrong(file, "tokenizer.ggml.merges", "has an entry that is not a pair"))?;
        Ok((a.to_owned(), b.to_owned()))
    });
    let merges = merges.collect::<Result<Vec<_>, Error>>()?;

    let (mut added, mut vocab) = (Vec::new(), Vocab::default());
    for (id, (text, kind)) in tokens.texts.iter().zip(&tokens.types).enumerate() {
        // Unused tokens only pad the embedding; the tokenizer never had them.
        if *kind == UNUSED || text.is_empty() {
            continue;
        }
        if *kind == CONTROL || *kind == USER_DEFINED {
            added.push(AddedToken::from(text.clone(), *kind == CONTROL).normalized(false));
        }
        // If two tokens have the same text, encoding returns the first.
        vocab.entry(text.clone()).or_insert(id as u32);
    }
    let bpe = BPE::builder().vocab_and_merges(vocab, merges).ignore_merges(definition.ignore_merges);
    let mut inner = Inner::new(built(bpe).map_err(|e| refused(&e))?.into());

    let steps = json!({"type": "Sequence", "pretokenizers": definition.pre_tokenizers()});
    let parsed = serde_json::from_value::<steps::PreTokenizer>(steps).map_err(|e| refused(&e))?;
    inner.with_pre_tokenizer(Some(parsed));
    if definition.nfc {
        let parsed = serde_json::from_value::<steps::Normalizer>(json!({"type": "NFC"})).map_err(|e| refused(&e))?;
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
