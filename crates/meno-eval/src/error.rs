//! The errors of evaluation.

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
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A line of a dataset is malformed.
    #[error("{}:{line}: {message}", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// Its line number, starting at 1.
        line: usize,
        /// What is wrong and what is expected.
        message: String,
    },
    /// No task has this name.
    #[error(
        "there is no task `{name}`; there are {known}, or a path to a file of questions and answers (.jsonl, .json, \
         .csv, .tsv or .parquet; .gz or .zst)"
    )]
    UnknownTask {
        /// The requested name.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// The answers are programs, and no sandbox is allowed to run them.
    #[error(
        "{}: its answers are programs, which run only in a sandbox and only if you allow it: set task.sandbox = true \
         (`--sandbox`)",
        path.display()
    )]
    Unsandboxed {
        /// The file.
        path: PathBuf,
    },
    /// The sandbox does not work on this machine.
    #[error("the sandbox: {0}")]
    Sandbox(String),
    /// A layer of the sandbox cannot be set up on this machine.
    #[error("the sandbox: {reason}")]
    Layer {
        /// Its name, one of `sandbox::layers()`.
        layer: &'static str,
        /// The reason and the remedy.
        reason: String,
    },
    /// The tests of a programming problem cannot be run.
    #[error("tests of a program: {0}")]
    Tests(String),
    /// A setting has a value that cannot work.
    #[error("task.countdown: {0}")]
    Countdown(String),
    /// A dataset contains no questions.
    #[error("{}: contains no questions", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

impl Error {
    /// Wraps an I/O error together with the path of its file.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.as_ref().to_owned();
        move |source| Error::Io { path, source }
    }
}
