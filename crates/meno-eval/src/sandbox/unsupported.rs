//! The jail of other systems than Linux: there is none.

use super::job::{End, Job};
use crate::error::Error;
use std::time::Instant;

fn unsupported() -> Error {
    Error::Sandbox("it needs Linux: user namespaces and Landlock".into())
}

/// Always an error.
pub(crate) fn rehearse(_: Job) -> Result<(), Error> {
    Err(unsupported())
}

/// No value of this type exists, because no program runs.
pub(crate) enum Jail {}

impl Jail {
    /// Always an error.
    pub(crate) fn start(_: Job) -> Result<Jail, Error> {
        Err(unsupported())
    }

    /// Never called.
    pub(crate) fn wait(&mut self, _: Instant) -> Result<Option<End>, Error> {
        match *self {}
    }
}
