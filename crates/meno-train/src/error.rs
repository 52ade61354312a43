//! What can go wrong while training.

use std::path::{Path, PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The device cannot hold or compute what is asked.
    #[error(transparent)]
    Device(#[from] meno_tensor::backend::Error),
    /// A recipe that cannot be used.
    #[error("{file}: {message}")]
    Recipe {
        /// The recipe, or the `--set` that was wrong.
        file: String,
        /// What is wrong and what was expected.
        message: String,
    },
    /// A setting whose value cannot work.
    #[error("`{key}` = {value}: {expected}")]
    Setting {
        /// Its key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What was expected.
        expected: String,
    },
    /// A line of a dataset that cannot be used.
    #[error("{}:{line}: {message}", file.display())]
    Data {
        /// The dataset.
        file: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong and what was expected.
        message: String,
    },
    /// A dataset with nothing in it.
    #[error("{0}: there is nothing to train on")]
    Empty(String),
    /// A sequence that does not fit the token budget of a pass.
    #[error("a sequence of {tokens} tokens does not fit `train.max_tokens` = {max_tokens}: raise it or shorten {what}")]
    TooLong {
        /// Its length.
        tokens: usize,
        /// The budget.
        max_tokens: usize,
        /// What could be made shorter.
        what: &'static str,
    },
    /// The numerics contract is broken: the weights that sampled are not the weights that train.
    #[error(
        "step {step}: the log-probability gate failed: max |logp_rollout - logp_train| = {gap:e} is above \
         `grpo.logprob_gap_tolerance` = {tolerance:e} (sequence {sequence}, token {position})"
    )]
    LogprobGap {
        /// The GRPO step.
        step: usize,
        /// The largest difference.
        gap: f32,
        /// What was allowed.
        tolerance: f32,
        /// The sequence where it happened.
        sequence: usize,
        /// The token of the completion where it happened.
        position: usize,
    },
    /// Training left the numbers.
    #[error("step {step}: {what} is {value}: lower `train.learning_rate`, or resume from an earlier checkpoint")]
    NotFinite {
        /// The optimizer step.
        step: usize,
        /// Loss or gradient norm.
        what: &'static str,
        /// Its value.
        value: f32,
    },
    /// A checkpoint that cannot be resumed from.
    #[error("{}: {message}", path.display())]
    Checkpoint {
        /// Its directory or file.
        path: PathBuf,
        /// What is wrong and how to fix it.
        message: String,
    },
    /// A question that cannot be trained on.
    #[error("question {index} ({question:?}): {message}")]
    Question {
        /// Its number in the task.
        index: u64,
        /// Its beginning.
        question: String,
        /// What is wrong and what was expected.
        message: String,
    },
    /// A reward that gives none.
    #[error("the reward `{name}` {message}")]
    Reward {
        /// Its name, or the path of its program.
        name: String,
        /// What is wrong and how to fix it.
        message: String,
    },
    /// The operating system refused.
    #[error("{}: {}", path.display(), meno_model::plain::plain(&source.to_string()))]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A model that cannot be loaded or saved.
    #[error(transparent)]
    Model(#[from] meno_model::Error),
    /// A tokenizer that could not be trained.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// A task that cannot be opened.
    #[error(transparent)]
    Eval(#[from] meno_eval::Error),
    /// Generation, tokenizer or template.
    #[error(transparent)]
    Engine(#[from] meno_engine::Error),
}

impl Error {
    /// For `map_err`: an I/O error at `path`.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
        move |source| Error::Io { path: path.to_owned(), source }
    }
}
