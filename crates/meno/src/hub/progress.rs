//! The progress of a pull, as the caller receives it.

use super::error::Error;
use super::repo_info::RepoFile;
use std::ops::ControlFlow;
use std::path::Path;

/// What a pull reports while it runs.
#[derive(Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// The next file begins.
    File {
        /// Its name in the repository.
        name: &'a str,
        /// Its length in bytes.
        size: u64,
    },
    /// Bytes of all files of the model.
    Bytes {
        /// Bytes that are there.
        done: u64,
        /// The part of `done` that needed no transfer: `done - skipped` bytes were received since the pull began.
        skipped: u64,
        /// Bytes of all files. Changes once for a checkpoint in shards, when its index has been read.
        total: u64,
    },
    /// Another process downloads the same file; the pull waits for it. Reported about ten times a second.
    Waiting,
    /// The hub cannot be reached; the pull returns the model as the cache holds it.
    Cached {
        /// Why the hub cannot be reached.
        error: &'a Error,
        /// The model's file or directory in the cache.
        path: &'a Path,
    },
}

/// Adds up the bytes of all files of a model and reports them.
pub(super) struct Meter<'a> {
    callback: &'a mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    done: u64,
    skipped: u64,
    total: u64,
}

impl<'a> Meter<'a> {
    /// Reports progress towards `total` bytes to `callback`.
    pub(super) fn new(total: u64, callback: &'a mut dyn FnMut(Progress<'_>) -> ControlFlow<()>) -> Meter<'a> {
        Meter { callback, done: 0, skipped: 0, total }
    }

    /// Sets a new total when the list of wanted files changes.
    pub(super) fn set_total(&mut self, total: u64) {
        self.total = total;
    }

    pub(super) fn begin(&mut self, file: &RepoFile) -> Result<(), Error> {
        self.report(Progress::File { name: &file.name, size: file.size })
    }

    pub(super) fn waiting(&mut self) -> Result<(), Error> {
        self.report(Progress::Waiting)
    }

    /// Counts bytes that need no transfer.
    pub(super) fn skip(&mut self, bytes: u64) -> Result<(), Error> {
        self.skipped += bytes;
        self.add(bytes)
    }

    /// Counts received bytes.
    pub(super) fn add(&mut self, bytes: u64) -> Result<(), Error> {
        self.done += bytes;
        self.report(Progress::Bytes { done: self.done, skipped: self.skipped, total: self.total })
    }

    /// Subtracts bytes that must be transferred again.
    pub(super) fn again(&mut self, bytes: u64) {
        self.done = self.done.saturating_sub(bytes);
        self.skipped = self.skipped.min(self.done);
    }

    fn report(&mut self, progress: Progress<'_>) -> Result<(), Error> {
        match (self.callback)(progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cancelled),
        }
    }
}
