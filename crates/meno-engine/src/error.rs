//! What can go wrong between text and tokens.

use std::path::{Path, PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {}", path.display(), meno_model::plain::plain(&source.to_string()))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong and what was expected.
        message: String,
    },
    /// The tokenizer refused.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// The chat template raised an error, looped, or cannot be read.
    #[error("chat template {name:?}: {message}")]
    Template {
        /// Its name.
        name: String,
        /// What happened.
        message: String,
    },
    /// A prompt that does not fit.
    #[error(
        "the prompt has {prompt} tokens, but the context holds {context} and an answer needs at least one; shorten \
         the prompt or use a longer context (--context), up to the model's maximum"
    )]
    PromptTooLong {
        /// Tokens of the prompt.
        prompt: usize,
        /// Most tokens of prompt and answer together.
        context: usize,
    },
    /// A request that makes no sense.
    #[error("request {request}: {message}")]
    Request {
        /// Its index among the requests.
        request: usize,
        /// What is wrong and what was expected.
        message: String,
    },
    /// The network computed logits that are not finite.
    #[error(
        "request {request}: the logits at position {position} are not finite (NaN or infinite), so no token can be \
         chosen; the weights may be broken, or too large for the precision: try f32"
    )]
    NotFinite {
        /// The index of the request.
        request: usize,
        /// The position in prompt and answer of the token that was to be chosen.
        position: usize,
    },
    /// The device cannot hold or compute what is asked.
    #[error(transparent)]
    Device(#[from] meno_tensor::backend::Error),
    /// The model cannot be built.
    #[error(transparent)]
    Model(#[from] meno_model::Error),
    /// A capacity that cannot work.
    #[error("{0}")]
    Capacity(String),
}

impl Error {
    /// The same error of the request with this index.
    pub(crate) fn of_request(self, request: usize) -> Error {
        match self {
            Error::Request { message, .. } => Error::Request { request, message },
            other => other,
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| Error::Io { path, source }
    }

    pub(crate) fn file(path: &Path, message: impl std::fmt::Display) -> Error {
        Error::File { path: path.to_path_buf(), message: message.to_string() }
    }
}
