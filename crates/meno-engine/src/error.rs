//! Errors of this crate.

use std::path::{Path, PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {}", path.display(), meno_model::plain::plain(&source.to_string()))]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file has invalid content.
    #[error("{}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong and what was expected.
        message: String,
    },
    /// The tokenizer failed.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// The chat template raised an error, exceeded its limits, or is invalid.
    #[error("chat template {name:?}: {message}")]
    Template {
        /// The name of the template.
        name: String,
        /// What happened.
        message: String,
    },
    /// The prompt does not fit the context.
    #[error(
        "the prompt has {prompt} tokens, but the context holds {context} and an answer needs at least one; shorten \
         the prompt or increase the context length (`--context`), up to the model's maximum"
    )]
    PromptTooLong {
        /// Number of tokens of the prompt.
        prompt: usize,
        /// Maximum number of tokens of prompt and answer together.
        context: usize,
    },
    /// The request is invalid.
    #[error("request {request}: {message}")]
    Request {
        /// Its index among the requests.
        request: usize,
        /// What is wrong and what was expected.
        message: String,
    },
    /// The network computed logits that are NaN or infinite.
    #[error(
        "request {request}: the logits at position {position} are not finite (NaN or infinite), so no token can be \
         chosen; the weights may be broken, or too large for the precision: try f32"
    )]
    NotFinite {
        /// The index of the request.
        request: usize,
        /// The position, in prompt and answer, of the token to choose.
        position: usize,
    },
    /// The device lacks memory, or cannot compute the request.
    #[error(transparent)]
    Device(#[from] meno_tensor::backend::Error),
    /// The model cannot be built.
    #[error(transparent)]
    Model(#[from] meno_model::Error),
    /// The requested context is longer than the model supports.
    #[error("{max_len} tokens requested, but the model supports at most {supported}")]
    ContextTooLong {
        /// Requested maximum number of tokens of prompt and answer together.
        max_len: usize,
        /// The model's maximum.
        supported: usize,
    },
    /// The KV cache cannot hold one sequence of maximum length.
    #[error("a KV cache of {tokens} tokens is too small: sequences of {max_len} need at least {needed}")]
    CacheTooSmall {
        /// The capacity of the cache in tokens, in whole pages.
        tokens: usize,
        /// Maximum length of a sequence in tokens.
        max_len: usize,
        /// The smallest sufficient capacity in tokens.
        needed: usize,
    },
    /// Another setting of the generator is invalid.
    #[error("{0}")]
    GeneratorConfig(String),
    /// Speculative decoding by the MTP module is requested for a model without one.
    #[error("the model has no multi-token prediction (MTP) module to propose tokens; use ngram instead")]
    NoMtpModule,
    /// The system cannot start the engine's thread.
    #[error("cannot start a thread for the engine: {0}")]
    Thread(#[source] std::io::Error),
}

impl Error {
    /// Returns the same error with the given request index.
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
