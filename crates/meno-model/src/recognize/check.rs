//! Checks a path without loading weights.

use super::content::Content;
use super::kind::{directory_error, file_error, names, pytorch};
use crate::{Error, source};
use std::path::Path;

/// Rejects anything but a complete model of a supported kind: config and weights that fit each other.
pub fn check(path: &Path) -> Result<(), Error> {
    source::open(path).map(drop)
}

/// Rejects anything without readable headers. Unlike [`check`] it accepts a config without weights, weights without a
/// config, and a single file of either kind.
pub fn check_headers(path: &Path) -> Result<(), Error> {
    let metadata = std::fs::metadata(path).map_err(Error::io(path))?;
    if metadata.is_dir() {
        let names = names(path)?;
        let weights = names.iter().any(|n| n.ends_with(".safetensors"));
        let has = |name: &str| names.iter().any(|n| n == name);
        return match (has("config.json"), weights) {
            _ if has("adapter_config.json") && !has("config.json") => Err(directory_error(path, &names)),
            (true, true) if has("model.safetensors") || has("model.safetensors.index.json") => {
                source::open_unchecked(path).map(drop)
            }
            (true, false) if pytorch(&names).is_some() => Err(directory_error(path, &names)),
            (true, _) | (false, true) => Ok(()),
            (false, false) => Err(directory_error(path, &names)),
        };
    }
    match Content::of(path)? {
        Content::Gguf => source::open_unchecked(path).map(drop),
        Content::Json if path.extension().is_some_and(|e| e == "json") => Ok(()),
        Content::Safetensors => Ok(()),
        // The listing reports what is wrong with it.
        Content::Empty | Content::Unknown if path.extension().is_some_and(|e| e == "safetensors") => Ok(()),
        content => Err(file_error(path, content)),
    }
}
