//! Replaces the jail on systems other than Linux: every function returns an error.

use super::job::{End, Job};
use crate::error::Error;
use std::time::Instant;

fn unsupported() -> Error {
    Error::Sandbox("it needs Linux: user namespaces and Landlock".into())
}

/// Always returns an error.
pub(crate) fn self_test(_: Job) -> Result<(), Error> {
    Err(unsupported())
}

/// Has no values, because no program runs.
pub(crate) enum Jail {}

impl Jail {
    /// Always returns an error.
    pub(crate) fn start(_: Job) -> Result<Jail, Error> {
        Err(unsupported())
    }

    /// Cannot be called.
    pub(crate) fn wait(&mut self, _: Instant) -> Result<Option<End>, Error> {
        match *self {}
    }
}
