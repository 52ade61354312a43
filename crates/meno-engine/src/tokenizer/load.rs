//! Reads the tokenizer of a model: a GGUF file, or a Hugging Face directory.

use super::{Inner, Special, Tokenizer, gguf, limits, parse};
use crate::error::Error;
use meno_model::gguf::Gguf;
use meno_model::{input, recognize};
use serde_json::Value;
use std::path::Path;

impl Tokenizer {
    /// Reads a GGUF file, or a Hugging Face directory: `tokenizer.json`, and the special tokens in
    /// `tokenizer_config.json`, `generation_config.json` and `config.json`.
    pub fn load(dir: &Path) -> Result<Tokenizer, Error> {
        if Gguf::is_gguf(dir) {
            return Tokenizer::from_gguf(&gguf::open(dir)?);
        }
        let path = dir.join("tokenizer.json");
        if dir.is_dir() && !path.exists() {
            return Err(Error::file(dir, without_tokenizer(dir)));
        }
        let bytes = input::read(&path, limits::MAX_FILE).map_err(Error::io(&path))?;
        let refused = |e| {
            let damaged = || format!("not a supported tokenizer: {e}");
            Error::file(&path, recognize::instead(&path).unwrap_or_else(damaged))
        };
        let inner = parse(&bytes).map_err(refused)?;
        let special = Special::read(dir, &inner)?;
        Tokenizer::from_parts(inner, special).map_err(refused)
    }
}

/// Explains what a directory without tokenizer.json lacks, and where to get it.
fn without_tokenizer(dir: &Path) -> String {
    let has = |name: &str| dir.join(name).is_file();
    let older = if has("tokenizer.model") {
        Some("tokenizer.model")
    } else if has("vocab.json") && has("merges.txt") {
        Some("vocab.json and merges.txt")
    } else {
        None
    };
    match older {
        Some(older) => format!(
            "has no tokenizer.json; {older} alone cannot be read, but transformers can convert it: \
             AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)"
        ),
        None => "has no tokenizer.json, which turns text into tokens; fetch it from where the model came from, with \
                 tokenizer_config.json"
            .to_owned(),
    }
}

/// Reads the JSON object of a file; `Null` if the file does not exist.
pub(crate) fn read_json(path: &Path) -> Result<Value, Error> {
    match input::read(path, input::SMALL) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Value::Null),
        Err(source) => Err(Error::io(path)(source)),
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| Error::file(path, format!("not JSON: {e}"))),
    }
}

/// A token as `tokenizer_config.json` writes it: its text, or an object with the text as `content`.
fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}

/// Returns the id in a config.
fn token_id(value: &Value) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok()
}

impl Special {
    fn read(dir: &Path, inner: &Inner) -> Result<Special, Error> {
        let config = read_json(&dir.join("tokenizer_config.json"))?;
        let find = |key: &str| {
            let text = token_text(&config[key])?;
            Some((text.to_owned(), inner.token_to_id(text)?))
        };
        let mut eos: Vec<(String, u32)> = find("eos_token").into_iter().collect();
        // transformers' generate() stops at the tokens of generation_config, and uses config.json if that has none.
        for file in ["generation_config.json", "config.json"] {
            let json = read_json(&dir.join(file))?;
            let ids: Vec<u32> = match &json["eos_token_id"] {
                Value::Array(ids) => ids.iter().filter_map(token_id).collect(),
                id => token_id(id).into_iter().collect(),
            };
            for &id in &ids {
                if let (Some(text), false) = (inner.id_to_token(id), eos.iter().any(|t| t.1 == id)) {
                    eos.push((text, id));
                }
            }
            if !ids.is_empty() {
                break;
            }
        }
        let add_bos = config["add_bos_token"].as_bool().unwrap_or(false);
        Ok(Special { bos: find("bos_token"), eos, pad: find("pad_token"), add_bos })
    }
}
