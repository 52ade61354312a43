//! Opens models: one procedure and one set of messages for every command.
//!
//! A name is a path or a model of the hub ([`crate::locate`]). The headers of a path are checked before anything
//! is loaded ([`meno_model::recognize`]), so every command rejects the same model with the same message.

use crate::locate;
use anyhow::{Result, bail};
use meno_engine::{TextAssets, Tokenizer};
use meno_model::recognize;
use meno_train::recipe::ModelSection;
use std::path::{Path, PathBuf};

/// The file or directory of a model, unchecked, for callers that check what they load.
pub(crate) fn locate(name: &Path) -> Result<PathBuf> {
    locate::locate(&at_home(name))
}

/// The file or directory of a runnable model: config and weights that match each other.
pub(crate) fn model(name: &Path) -> Result<PathBuf> {
    let path = locate(name)?;
    recognize::check(&path)?;
    Ok(path)
}

/// Like [`model`], and also loads its tokenizer.
pub(crate) fn with_tokenizer(name: &Path) -> Result<(PathBuf, Tokenizer)> {
    let path = model(name)?;
    let tokenizer = Tokenizer::load(&path)?;
    Ok((path, tokenizer))
}

/// Tokenizer, template and files of a recipe's model.
pub(crate) fn text_assets(section: &ModelSection) -> Result<TextAssets> {
    match (&section.tokenizer, &section.path) {
        (Some(path), _) => Ok(TextAssets::load(&locate(path)?)?),
        (None, Some(path)) => {
            let (path, tokenizer) = with_tokenizer(path)?;
            Ok(TextAssets::with_tokenizer(&path, tokenizer)?)
        }
        (None, None) => {
            bail!("[model] has a `config` but no `tokenizer`: set it to the directory that holds tokenizer.json")
        }
    }
}

/// Like [`model`], for commands that only list tensors: a config alone, weights alone, or one file of either
/// is enough.
pub(crate) fn headers(name: &Path) -> Result<PathBuf> {
    let path = locate::locate(&at_home(name))?;
    recognize::check_headers(&path)?;
    Ok(path)
}

/// Expands `~/` at the start of a path to the home directory, as a shell does.
pub(crate) fn at_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => path.to_owned(),
    }
}
