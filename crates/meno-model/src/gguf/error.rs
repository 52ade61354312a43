//! Errors in GGUF files.

use std::path::PathBuf;

/// An error in a GGUF file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be opened or mapped.
    #[error("{}: {}", path.display(), crate::plain::plain(&source.to_string()))]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The bytes are not a GGUF file that this reader knows, or contradict each other.
    #[error("{}: not a usable GGUF file: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, where, and what was expected.
        what: String,
    },
    /// A GGUF file that is not a language model: an adapter, a projector, a vocabulary.
    #[error("{}: {what}", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// What the file is, and which file to use instead.
        what: &'static str,
    },
    /// A model of an architecture that is not supported.
    #[error(
        "{}: is a model of the architecture `{architecture}` (general.architecture), which is not supported; supported \
         are {}",
        path.display(),
        supported.join(", ")
    )]
    Architecture {
        /// The file.
        path: PathBuf,
        /// Its architecture, in llama.cpp's naming.
        architecture: String,
        /// The supported architectures.
        supported: &'static [&'static str],
    },
    /// A metadata key is missing, or has a type or value that does not fit the architecture.
    #[error("{}: metadata key `{key}` {what}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is wrong with it.
        what: String,
    },
    /// A requested tensor is missing or has another shape.
    #[error("{}: tensor `{name}` {what}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor's Hugging Face name.
        name: String,
        /// What is wrong with it.
        what: String,
    },
}
