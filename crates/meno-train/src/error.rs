//! Errors of training.

use std::path::{Path, PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device lacks memory, or cannot compute the request.
    #[error(transparent)]
    Device(#[from] meno_tensor::backend::Error),
    /// A recipe is invalid.
    #[error("{file}: {message}")]
    Recipe {
        /// The recipe, or the invalid `--set` argument.
        file: String,
        /// What is wrong and what was expected.
        message: String,
    },
    /// A setting has an invalid value.
    #[error("`{key}` = {value}: {expected}")]
    Setting {
        /// Its key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What was expected.
        expected: String,
    },
    /// A line of a dataset is invalid.
    #[error("{}:{line}: {message}", file.display())]
    Data {
        /// The dataset.
        file: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong and what was expected.
        message: String,
    },
    /// A dataset is empty.
    #[error("{0}: there is nothing to train on")]
    Empty(String),
    /// A sequence exceeds the token budget of a pass.
    #[error("a sequence of {tokens} tokens does not fit `train.max_tokens` = {max_tokens}: raise it or shorten {what}")]
    TooLong {
        /// Its length.
        tokens: usize,
        /// The budget.
        max_tokens: usize,
        /// What can be shortened.
        what: &'static str,
    },
    /// The numerics contract is broken: the weights that sampled differ from the weights that train.
    #[error(
        "step {step}: the log-probability gate failed: max |logp_rollout - logp_train| = {gap:e} is above \
         `grpo.logprob_gap_tolerance` = {tolerance:e} (sequence {sequence}, token {position})"
    )]
    LogprobGap {
        /// The GRPO step.
        step: usize,
        /// The largest difference.
        gap: f32,
        /// The tolerance.
        tolerance: f32,
        /// The sequence with the largest difference.
        sequence: usize,
        /// The token of the completion with the largest difference.
        position: usize,
    },
    /// The loss or the gradient norm is NaN or infinite.
    #[error("step {step}: {what} is {value}: lower `train.learning_rate`, or resume from an earlier checkpoint")]
    NotFinite {
        /// The optimizer step.
        step: usize,
        /// Loss or gradient norm.
        what: &'static str,
        /// Its value.
        value: f32,
    },
    /// A checkpoint cannot be resumed from.
    #[error("{}: {message}", path.display())]
    Checkpoint {
        /// The checkpoint's directory or file.
        path: PathBuf,
        /// What is wrong and how to fix it.
        message: String,
    },
    /// A question is unusable for training.
    #[error("question {index} ({question:?}): {message}")]
    Question {
        /// Its index in the task.
        index: u64,
        /// The beginning of its text.
        question: String,
        /// What is wrong and what was expected.
        message: String,
    },
    /// A reward could not be computed.
    #[error("the reward `{name}` {message}")]
    Reward {
        /// Its name, or the path of its program.
        name: String,
        /// What is wrong and how to fix it.
        message: String,
    },
    /// An I/O error of the operating system.
    #[error("{}: {}", path.display(), meno_model::plain::plain(&source.to_string()))]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A model cannot be loaded or saved.
    #[error(transparent)]
    Model(#[from] meno_model::Error),
    /// A tokenizer could not be trained.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// A task cannot be opened.
    #[error(transparent)]
    Eval(#[from] meno_eval::Error),
    /// An error of generation, tokenizer or template.
    #[error(transparent)]
    Engine(#[from] meno_engine::Error),
}

impl Error {
    /// For `map_err`: an I/O error at `path`.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
        move |source| Error::Io { path: path.to_owned(), source }
    }

    /// A checkpoint at `path` cannot be used.
    pub(crate) fn checkpoint(path: &Path, message: impl Into<String>) -> Error {
        Error::Checkpoint { path: path.to_owned(), message: message.into() }
    }
}
