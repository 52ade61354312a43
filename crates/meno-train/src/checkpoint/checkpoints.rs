//! The checkpoints of a run: where they are written and when, and which of them is the newest intact one.

use super::checksums;
use super::found::Found;
use super::state::{RunInputs, State, read_state};
use crate::error::Error;
use crate::run_lock::RunLock;
use meno_comm::Comm;
use meno_model::Dtype;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where and when to write checkpoints.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    /// The run directory.
    pub dir: PathBuf,
    /// Optimizer steps between two checkpoints; 0 writes only the last one.
    pub save_steps: usize,
    /// Number of checkpoints to keep; 0 keeps all.
    pub save_total_limit: usize,
    /// Type of the saved weights. Below f32, the training state contains the f32 master weights.
    pub dtype: Dtype,
    /// Continue from the newest checkpoint if there is one.
    pub resume: bool,
    /// Files to include in every checkpoint, by name: tokenizer, chat template, generation config.
    pub assets: Vec<(String, Vec<u8>)>,
    /// The recipe and data at the start of the run, stored for a later resume.
    pub inputs: Option<RunInputs>,
    /// The checkpoint to continue from, if it was searched for before the run.
    pub found: Option<Found>,
    /// Keeps other processes out of the directory as long as a clone of this exists; held by the first rank.
    pub lock: Option<Arc<RunLock>>,
    /// The ranks that write the checkpoints together. They share the file system.
    pub comm: Comm,
}

impl Checkpoints {
    /// Writes checkpoints with f32 weights to `dir` every `save_steps` optimizer steps and keeps the last two.
    pub fn new(dir: impl Into<PathBuf>, save_steps: usize) -> Self {
        let (dir, dtype, assets) = (dir.into(), Dtype::F32, Vec::new());
        let (inputs, found, lock) = (None, None, None);
        let (save_total_limit, resume, comm) = (2, false, meno_comm::solo());
        Checkpoints { dir, save_steps, save_total_limit, dtype, resume, assets, inputs, found, lock, comm }
    }

    /// Returns true if a checkpoint is due after `step` of `max_steps`.
    pub fn due(&self, step: usize, max_steps: usize) -> bool {
        step >= max_steps || (self.save_steps > 0 && step.is_multiple_of(self.save_steps))
    }

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

    /// Like [`Checkpoints::newest_whole`], for all ranks: the first one checks the files. All ranks call it.
    pub fn newest_whole_of_all(&self) -> Result<Option<Found>, Error> {
        let found = if self.comm.is_first() { self.newest_whole()? } else { None };
        let path = || found.as_ref().map(|found| found.path.as_os_str().as_encoded_bytes().to_vec());
        let name = self.comm.from_rank(0, || path().unwrap_or_default());
        match self.comm.is_first() || name.is_empty() {
            true => Ok(found),
            false => Found::checked(PathBuf::from(String::from_utf8_lossy(&name).into_owned())).map(Some),
        }
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

/// Returns the state of a checkpoint if its files are intact, and true if it has checksums.
fn whole(step: usize, path: &Path) -> Result<(State, bool), Error> {
    let checked = checksums::check(path)?;
    let state = read_state(path)?;
    if state.step != step {
        return Err(Error::checkpoint(path, format!("its training state is of step {}", state.step)));
    }
    for name in ["model.safetensors", "config.json", "training_state.safetensors"] {
        let file = path.join(name);
        std::fs::metadata(&file).map_err(Error::io(&file))?;
    }
    Ok((state, checked))
}
