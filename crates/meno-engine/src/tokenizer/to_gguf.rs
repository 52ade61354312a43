//! Writes the tokenizer of a Hugging Face directory as GGUF metadata (llama.cpp `conversion/base.py`, `get_vocab_base`,
//! `SpecialVocab`): the inverse of `gguf.rs`. Byte-level BPE only.

use super::pre_tokenizers::named_by;
use super::token_type::{CONTROL, NORMAL, UNUSED, USER_DEFINED};
use super::{Tokenizer, read_json};
use crate::chat_template::ChatTemplate;
use crate::error::Error;
use meno_model::gguf::Metadata;
use serde_json::Value;
use std::path::Path;

/// Adds the tokenizer and the chat template of `dir` to the metadata of a model with `vocab_size` rows.
pub fn add_tokenizer(dir: &Path, vocab_size: usize, out: &mut Metadata) -> Result<(), Error> {
    let path = dir.join("tokenizer.json");
    let tokenizer = Tokenizer::load(dir)?;
    let json = read_json(&path)?;
    let wrong = |what: &str| Error::file(&path, what);
    if json["model"]["type"] != "BPE" || !mentions_byte_level(&json["pre_tokenizer"]) {
        return Err(wrong("is not byte-level BPE, the only kind of tokenizer that can be written to GGUF"));
    }
    out.string("tokenizer.ggml.model", "gpt2");
    match named_by(&json) {
        Some(name) => out.string("tokenizer.ggml.pre", name),
        // GGUF has no name for this splitting. Programs that only know names use the default, which splits some texts
        // differently. Programs that read the whole file, such as Meno, find it in `tokenizer.huggingface.json`.
        None => {
            out.string("tokenizer.ggml.pre", "default");
            out.string("tokenizer.huggingface.json", &json.to_string());
        }
    }
    let (texts, types) = vocabulary(&json, vocab_size).map_err(|what| wrong(&what))?;
    out.strings("tokenizer.ggml.tokens", &texts);
    out.i32s("tokenizer.ggml.token_type", &types);
    out.strings("tokenizer.ggml.merges", &merges(&json).ok_or_else(|| wrong("has no list `model.merges` of pairs"))?);
    let special = tokenizer.special();
    let ids = [("bos", special.bos.as_ref()), ("eos", special.eos.first()), ("padding", special.pad.as_ref())];
    for (role, token) in ids {
        if let Some((_, id)) = token {
            out.u32(&format!("tokenizer.ggml.{role}_token_id"), *id);
        }
    }
    // Either the tokenizer adds bos itself, or tokenizer_config.json requests it.
    let first = tokenizer.encode("a", true)?.first().copied();
    out.bool("tokenizer.ggml.add_bos_token", first.is_some() && first == tokenizer.bos());
    if let Some(template) = ChatTemplate::load(dir, special)? {
        out.string("tokenizer.chat_template", template.source());
    }
    Ok(())
}

/// Returns true if a (sequence of) pre-tokenizer(s) maps bytes to letters.
fn mentions_byte_level(pre_tokenizer: &Value) -> bool {
    pre_tokenizer["type"] == "ByteLevel"
        || pre_tokenizer["pretokenizers"].as_array().is_some_and(|all| all.iter().any(|p| p["type"] == "ByteLevel"))
}

/// Returns all tokens by id, with their types; ids without a token are filled up to `size`.
fn vocabulary(json: &Value, size: usize) -> Result<(Vec<String>, Vec<i32>), String> {
    let mut tokens: Vec<Option<(String, i64)>> = vec![None; size];
    let mut place = |id: Option<u64>, text: &str, kind: i64| {
        let slot = id.and_then(|id| tokens.get_mut(usize::try_from(id).ok()?));
        let slot = slot.ok_or_else(|| format!("gives {text:?} the id {id:?}, but the embedding has {size} rows"))?;
        *slot = Some((text.to_owned(), kind));
        Ok::<(), String>(())
    };
    let vocab = json["model"]["vocab"].as_object().ok_or("has no object `model.vocab`")?;
    for (text, id) in vocab {
        place(id.as_u64(), text, NORMAL)?;
    }
    for token in json["added_tokens"].as_array().into_iter().flatten() {
        let text = token["content"].as_str().ok_or("has an added token without `content`")?;
        let special = token["special"].as_bool().unwrap_or(false) || looks_special(text);
        place(token["id"].as_u64(), text, if special { CONTROL } else { USER_DEFINED })?;
    }
    let filled = tokens.into_iter().enumerate();
    Ok(filled.map(|(i, t)| t.unwrap_or_else(|| (format!("[PAD{i}]"), UNUSED))).map(|(t, k)| (t, k as i32)).unzip())
}

/// Returns true for tokens that should be special but are not marked so in some published files.
fn looks_special(text: &str) -> bool {
    let framed = |open: &str, close: &str| text.starts_with(open) && text.ends_with(close);
    text == "<pad>" || framed("<|", "|>") || framed("<｜", "｜>")
}

/// Returns the merges as `a b`. A space within a token (which byte-level tokens do not have) is written as in
/// byte-level tokens.
fn merges(json: &Value) -> Option<Vec<String>> {
    let part = |p: &Value| Some(p.as_str()?.replace(' ', "Ġ"));
    let merge = |m: &Value| match m {
        Value::String(s) => Some(s.clone()),
        pair => Some(format!("{} {}", part(pair.get(0)?)?, part(pair.get(1)?)?)),
    };
    json["model"]["merges"].as_array()?.iter().map(merge).collect()
}
