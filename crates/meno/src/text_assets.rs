//! The text side of a model to train: its tokenizer, its template, and the files that go into every checkpoint. It is
//! read without the network, whose weights may be random.

use crate::locate;
use crate::open::{self, at_home};
use anyhow::{Context, Result, bail};
use meno_engine::{ChatTemplate, GenerationConfig, Tokenizer, generation_config};
use meno_model::input;
use meno_train::recipe::ModelSection;
use std::path::Path;

/// A model's tokenizer and template, and their files.
pub(crate) struct TextAssets {
    /// Converts text to tokens and back.
    pub tokenizer: Tokenizer,
    /// The chat template, if the model has one.
    pub template: Option<ChatTemplate>,
    /// The files to store with every checkpoint.
    pub assets: Vec<(String, Vec<u8>)>,
}

/// Maximum bytes of a file that accompanies a model.
const MAX_ASSET: u64 = 128 << 20;

/// Files of a Hugging Face directory that accompany a trained model.
const ASSETS: [&str; 8] = [
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
    pub(crate) fn load(path: &Path) -> Result<TextAssets> {
        TextAssets::with(path, Tokenizer::load(path)?)
    }

    /// Loads the rest for a model whose tokenizer is already read.
    fn with(path: &Path, tokenizer: Tokenizer) -> Result<TextAssets> {
        if path.is_file() {
            return TextAssets::from_gguf(path, tokenizer);
        }
        let template = ChatTemplate::load(path, tokenizer.special())?;
        let mut assets = Vec::new();
        for name in ASSETS {
            let file = path.join(name);
            match input::read(&file, MAX_ASSET) {
                Ok(bytes) => assets.push((name.to_owned(), bytes)),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(e).with_context(|| file.display().to_string()),
            }
        }
        if !assets.iter().any(|(name, _)| name == generation_config::FILE) {
            assets.push(generation_asset(&GenerationConfig::default(), &tokenizer));
        }
        Ok(TextAssets { tokenizer, template, assets })
    }

    fn from_gguf(path: &Path, tokenizer: Tokenizer) -> Result<TextAssets> {
        let file = meno_model::gguf::Gguf::open(path)?;
        let source = meno_engine::tokenizer::gguf::chat_template(&file)?;
        let template = source.map(|s| ChatTemplate::new(s, tokenizer.special())).transpose()?;
        let files = tokenizer.files(source)?.map(|(name, text)| (name.to_owned(), text.into_bytes()));
        let generation = generation_asset(&GenerationConfig::load(path)?, &tokenizer);
        let assets = files.into_iter().chain([generation]).collect();
        Ok(TextAssets { tokenizer, template, assets })
    }

    /// Loads tokenizer and template for a recipe's model.
    pub(crate) fn of(section: &ModelSection) -> Result<TextAssets> {
        match (&section.tokenizer, &section.path) {
            (Some(path), _) => TextAssets::load(&locate::locate(&at_home(path))?),
            (None, Some(path)) => {
                let (path, tokenizer) = open::with_tokenizer(path)?;
                TextAssets::with(&path, tokenizer)
            }
            (None, None) => {
                bail!("[model] has a `config` but no `tokenizer`: set it to the directory that holds tokenizer.json")
            }
        }
    }
}

/// The generation config for a model that has no such file.
fn generation_asset(config: &GenerationConfig, tokenizer: &Tokenizer) -> (String, Vec<u8>) {
    (generation_config::FILE.to_owned(), config.to_json(tokenizer).into_bytes())
}
