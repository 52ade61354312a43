//! The text side of a model, without its network: its tokenizer, its template, and the files that accompany its
//! weights. Training reads it, because the weights of the network may be random.

use crate::chat_template::ChatTemplate;
use crate::error::Error;
use crate::generation_config::{self, GenerationConfig};
use crate::tokenizer::Tokenizer;
use meno_model::input;
use std::path::Path;

/// A model's tokenizer and template, and their files. [`TextModel`](crate::TextModel) is the same with the network.
pub struct TextAssets {
    /// Converts text to tokens and back.
    pub tokenizer: Tokenizer,
    /// The chat template, if the model has one.
    pub template: Option<ChatTemplate>,
    /// The files to store with every checkpoint, by name.
    pub files: Vec<(String, Vec<u8>)>,
}

/// Maximum bytes of a file that accompanies a model.
const MAX_BYTES: u64 = 128 << 20;

/// Files of a Hugging Face directory that accompany a trained model.
const FILES: [&str; 8] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
    "tokenizer.model",
    "meno.json",
];

impl TextAssets {
    /// Loads tokenizer and template from a Hugging Face directory or a GGUF file.
    pub fn load(path: &Path) -> Result<TextAssets, Error> {
        TextAssets::with_tokenizer(path, Tokenizer::load(path)?)
    }

    /// Loads the rest for a model whose tokenizer is already read.
    pub fn with_tokenizer(path: &Path, tokenizer: Tokenizer) -> Result<TextAssets, Error> {
        let template = ChatTemplate::load(path, tokenizer.special())?;
        let mut files = match path.is_file() {
            true => {
                let source = template.as_ref().map(ChatTemplate::source);
                tokenizer.files(source)?.map(|(name, text)| (name.to_owned(), text.into_bytes())).into()
            }
            false => directory_files(path)?,
        };
        if !files.iter().any(|(name, _)| name == generation_config::FILE) {
            let config = GenerationConfig::load(path)?.to_json(&tokenizer);
            files.push((generation_config::FILE.to_owned(), config.into_bytes()));
        }
        Ok(TextAssets { tokenizer, template, files })
    }
}

/// Reads those of [`FILES`] that a directory has.
fn directory_files(path: &Path) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut files = Vec::new();
    for name in FILES {
        let file = path.join(name);
        match input::read(&file, MAX_BYTES) {
            Ok(bytes) => files.push((name.to_owned(), bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io(&file)(e)),
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::CharacterLevel;

    #[test]
    fn a_checkpoint_gets_the_files_of_its_model_and_a_generation_config() {
        let tokenizer = Tokenizer::character_level(&CharacterLevel {
            special: &["<eos>", "<unk>"],
            alphabet: "ab",
            eos: "<eos>",
            unk: "<unk>",
            ..CharacterLevel::default()
        });
        let dir = tempfile::tempdir().unwrap();
        tokenizer.unwrap().save(dir.path(), Some("{{ messages[0].content }}")).unwrap();
        std::fs::write(dir.path().join("model.safetensors"), "no text").unwrap();
        let text = TextAssets::load(dir.path()).unwrap();
        assert_eq!(text.template.unwrap().source(), "{{ messages[0].content }}");
        let names: Vec<&str> = text.files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["tokenizer.json", "tokenizer_config.json", "generation_config.json"]);
        assert_eq!(text.files[0].1, std::fs::read(dir.path().join("tokenizer.json")).unwrap());
    }
}
