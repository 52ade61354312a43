//! What can go wrong in evaluation.

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
        /// What the system said.
        source: std::io::Error,
    },
    /// A line of a data set is not what it should be.
    #[error("{}:{line}: {message}", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What is wrong, what was expected.
        message: String,
    },
    /// No such task.
    #[error(
        "there is no task `{name}`; there are {known}, or a path to a file of questions and answers (.jsonl, .json, .csv, .tsv or .parquet; .gz or .zst)"
    )]
    UnknownTask {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Programs that would have to run, and no leave to run them.
    #[error(
        "{}: its answers are programs, and what a model writes is run only in a sandbox, when you say so: \
         --sandbox, or task.sandbox = true",
        path.display()
    )]
    Unsandboxed {
        /// The file.
        path: PathBuf,
    },
    /// The sandbox does not hold on this machine.
    #[error("the sandbox: {0}")]
    Sandbox(String),
    /// A wall of the sandbox cannot be built on this machine.
    #[error("the sandbox: {reason}")]
    Wall {
        /// Its name, one of `sandbox::WALLS`.
        wall: &'static str,
        /// Why, and the way out.
        reason: String,
    },
    /// The tests of a programming problem cannot be run.
    #[error("tests of a program: {0}")]
    Tests(String),
    /// A setting with a value that cannot work.
    #[error("task.countdown: {0}")]
    Countdown(String),
    /// A data set without a question.
    #[error("{}: no questions in it", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

impl Error {
    /// Names the file of an I/O error.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.as_ref().to_owned();
        move |source| Error::Io { path, source }
    }
}
