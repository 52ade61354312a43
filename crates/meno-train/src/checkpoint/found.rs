//! A checkpoint to continue from.

use super::state::{State, read_state};
use crate::error::Error;
use std::path::PathBuf;

/// An intact checkpoint.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its directory.
    pub path: PathBuf,
    /// Its training state.
    pub state: State,
    /// Notes for the user: newer checkpoints that are damaged, missing checksums.
    pub notes: Vec<String>,
    /// Newer checkpoints that are damaged.
    pub(super) damaged: Vec<PathBuf>,
}

impl Found {
    /// The intact checkpoint at `path`, which another rank has checked.
    pub fn checked(path: PathBuf) -> Result<Found, Error> {
        Ok(Found { state: read_state(&path)?, path, notes: Vec::new(), damaged: Vec::new() })
    }

    /// Renames damaged checkpoints, so that they are no longer found: `checkpoint-40.damaged`.
    pub(super) fn set_aside_damaged(&self) -> Result<(), Error> {
        for path in &self.damaged {
            let mut aside = path.clone().into_os_string();
            aside.push(".damaged");
            let _ = std::fs::remove_dir_all(&aside); // remove an earlier one
            std::fs::rename(path, &aside).map_err(Error::io(path))?;
        }
        Ok(())
    }
}
