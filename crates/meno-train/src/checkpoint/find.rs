//! Finds the checkpoint to continue from: the newest intact one.

use super::{Checkpoints, State, checksums, error, read_state};
use crate::error::Error;
use std::path::{Path, PathBuf};

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
    damaged: Vec<PathBuf>,
}

impl Checkpoints {
    /// Returns the newest checkpoint and its step, without checking that it is intact.
    pub fn latest(&self) -> Option<(usize, PathBuf)> {
        self.all().pop()
    }

    /// Returns the newest checkpoint whose files match their checksums. If there are checkpoints but none is intact,
    /// returns the error of the newest.
    pub fn newest_whole(&self) -> Result<Option<Found>, Error> {
        let (mut notes, mut damaged, mut first) = (Vec::new(), Vec::new(), None);
        for (step, path) in self.all().into_iter().rev() {
            match whole(step, &path) {
                Ok((state, checked)) => {
                    if !damaged.is_empty() {
                        notes.push(format!("going back to {}", path.display()));
                    }
                    if !checked {
                        notes.push(format!("{} has no {}: its files are not checked", path.display(), checksums::FILE));
                    }
                    return Ok(Some(Found { path, state, notes, damaged }));
                }
                Err(e) => {
                    notes.push(format!("{} is damaged: {e}", path.display()));
                    damaged.push(path);
                    first.get_or_insert(e);
                }
            }
        }
        first.map_or(Ok(None), Err)
    }

    /// Returns the checkpoints, oldest first. Ignores empty directories and other names.
    pub(super) fn all(&self) -> Vec<(usize, PathBuf)> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let step = |e: std::fs::DirEntry| {
            let name = e.file_name();
            let step: usize = name.to_str()?.strip_prefix("checkpoint-")?.parse().ok()?;
            let named = name.to_str() == Some(&format!("checkpoint-{step}"));
            let filled = std::fs::read_dir(e.path()).is_ok_and(|mut files| files.next().is_some());
            (named && filled).then(|| (step, e.path()))
        };
        let mut all: Vec<(usize, PathBuf)> = entries.filter_map(step).collect();
        all.sort();
        all
    }
}

impl Found {
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

/// Returns the state of a checkpoint if its files are intact, and true if it has checksums.
fn whole(step: usize, path: &Path) -> Result<(State, bool), Error> {
    let checked = checksums::check(path)?;
    let state = read_state(path)?;
    if state.step != step {
        return Err(error(path, format!("its training state is of step {}", state.step)));
    }
    for name in ["model.safetensors", "config.json", "training_state.safetensors"] {
        let file = path.join(name);
        std::fs::metadata(&file).map_err(Error::io(&file))?;
    }
    Ok((state, checked))
}
