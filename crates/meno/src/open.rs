//! Opening a model: one way and one set of answers for every command.
//!
//! A name is a path or a model of the hub ([`crate::hub`]). What a path holds is checked by its headers before anything
//! is loaded ([`meno_model::recognize`]), so every command refuses the same model with the same words.

use crate::hub;
use anyhow::Result;
use meno_engine::Tokenizer;
use meno_model::recognize;
use std::path::{Path, PathBuf};

/// The file or directory of a model that can be run: config and weights, which fit each other.
pub(crate) fn model(name: &Path) -> Result<PathBuf> {
    let path = hub::locate(&at_home(name))?;
    recognize::check(&path)?;
    Ok(path)
}

/// As [`model`], and its tokenizer.
pub(crate) fn with_tokenizer(name: &Path) -> Result<(PathBuf, Tokenizer)> {
    let path = model(name)?;
    let tokenizer = Tokenizer::load(&path)?;
    Ok((path, tokenizer))
}

/// As [`model`] where tensors are only listed: a config alone, weights alone, or one file of either will do.
pub(crate) fn headers(name: &Path) -> Result<PathBuf> {
    let path = hub::locate(&at_home(name))?;
    recognize::check_headers(&path)?;
    Ok(path)
}

/// `~/` at the beginning of a path is the home directory, as in a shell.
pub(crate) fn at_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => path.to_owned(),
    }
}
