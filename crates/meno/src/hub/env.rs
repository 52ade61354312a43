//! Environment variables; an empty one counts as unset.

use std::path::PathBuf;

/// A setting without the spaces around it.
pub(super) fn setting(key: &str) -> Option<String> {
    std::env::var(key).ok().map(|v| v.trim().to_owned()).filter(|v| !v.is_empty())
}

/// A directory.
pub(super) fn directory(key: &str) -> Option<PathBuf> {
    std::env::var_os(key).filter(|v| !v.is_empty()).map(PathBuf::from)
}

/// The directory of Python's `huggingface_hub`: `HF_HOME`, or `~/.cache/huggingface`. `None` without a home directory.
pub(super) fn huggingface_home() -> Option<PathBuf> {
    let home = || std::env::home_dir().filter(|h| !h.as_os_str().is_empty());
    directory("HF_HOME").or_else(|| Some(home()?.join(".cache/huggingface")))
}
