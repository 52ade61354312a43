//! Errors in a model's files.

use std::path::{Path, PathBuf};

/// An error of this crate. It names the file, what was expected, and how to fix it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{}: {}", path.display(), crate::plain::plain(&source.to_string()))]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A key of a config is missing, has a wrong value, or contradicts another.
    #[error("{file}: key `{key}` {what}")]
    Config {
        /// Where the config came from.
        file: String,
        /// The key.
        key: String,
        /// What is wrong, what was expected, and how to fix it.
        what: String,
    },
    /// A file does not have the format that its name implies.
    #[error("{}: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Tensors are missing, unknown, or differ in shape from the config.
    #[error("{}: the weights do not fit config.json: {}", path.display(), problems.join("; "))]
    Tensors {
        /// The checkpoint.
        path: PathBuf,
        /// One line per tensor.
        problems: Vec<String>,
    },
    /// A weight is NaN or infinite.
    #[error(
        "{}: tensor `{tensor}` is not finite: NaN or infinity at element {index}; the file is damaged or its training \
         diverged: fetch or export the checkpoint again, or take an earlier one",
        path.display()
    )]
    NotFinite {
        /// The file or directory.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The index of the first such element, or the first element of its block.
        index: usize,
    },
    /// A token has no row in the embedding.
    #[error(
        "token {token} is outside the vocabulary of the network, which has {vocab_size} rows: the tokenizer is that of \
         another model; put the model's own beside its weights"
    )]
    Token {
        /// Its id.
        token: u32,
        /// Rows of the embedding.
        vocab_size: usize,
    },
    /// The model does not fit this machine.
    #[error("the model needs {needed:.1} GiB for its weights in f32; this machine has {available:.1} GiB")]
    Memory {
        /// GiB of weights.
        needed: f64,
        /// GiB of memory of the machine.
        available: f64,
    },
    /// The device cannot hold or compute the model.
    #[error(transparent)]
    Device(#[from] meno_tensor::backend::Error),
    /// A GGUF file cannot be used.
    #[error(transparent)]
    Gguf(#[from] crate::gguf::Error),
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
        move |source| Error::Io { path: path.to_owned(), source }
    }
    pub(crate) fn not_finite(path: &Path, tensor: &str, index: usize) -> Error {
        Error::NotFinite { path: path.to_owned(), tensor: tensor.to_owned(), index }
    }
    pub(crate) fn malformed(path: &Path, what: impl Into<String>) -> Error {
        Error::Malformed { path: path.to_owned(), what: what.into() }
    }
}
