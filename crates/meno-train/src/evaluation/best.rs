//! The best model of a run: `best/`, a Hugging Face directory next to the checkpoints, with its score in `eval.json`.
//!
//! It is not a checkpoint: `save_total_limit` does not count it, and `--resume` does not use it.

use super::settings::Metric;
use crate::checkpoint::{Checkpoints, checksums, copy_weights, load_like, save_model, sync, sync_files};
use crate::error::Error;
use meno_eval::score::Summary;
use meno_model::Model;
use meno_model::temporary::Temporary;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Its directory name in the run directory.
pub const DIR: &str = "best";

/// The best score of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The optimizer step after which it was measured.
    pub step: usize,
    /// The score, as f32, which the JSON of a checkpoint restores exactly.
    pub score: f32,
}

/// The contents of `eval.json`.
#[derive(Serialize)]
pub(super) struct Record<'a> {
    pub(super) step: usize,
    pub(super) score: f32,
    pub(super) metric: Metric,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) task: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) summary: Option<&'a Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) loss: Option<f64>,
}

/// Writes the model to `best/` and replaces the previous one. All ranks call it.
pub(super) fn keep(to: &Checkpoints, model: &Model, record: &Record) -> Result<PathBuf, Error> {
    let (path, temp) = (to.dir.join(DIR), to.dir.join(".best.tmp"));
    // The first rank removes the directory if anything fails.
    let first = to.comm.is_first().then(|| Temporary::at(temp.clone()));
    if first.is_some() {
        remove(&temp)?;
    }
    to.comm.barrier();
    save_model(to, model, &temp)?;
    if first.is_some() {
        let file = temp.join("eval.json");
        let json = serde_json::to_vec_pretty(record).expect("invariant: the record is plain data");
        std::fs::write(&file, json).map_err(Error::io(&file))?;
    }
    to.comm.barrier();
    checksums::write(&temp, &*to.comm)?;
    if let Some(temp) = first {
        replace(&to.dir, temp, &path)?;
    }
    to.comm.barrier();
    Ok(path)
}

/// Gives the new best model its final name.
fn replace(dir: &Path, temp: Temporary, path: &Path) -> Result<(), Error> {
    let old = dir.join(".best.old");
    remove(&old)?;
    sync_files(temp.path())?;
    // If the process is killed between the two renames, `best/` is missing until the run is resumed. This step has no
    // checkpoint yet, so it is repeated and evaluated again.
    if path.exists() {
        std::fs::rename(path, &old).map_err(Error::io(path))?;
    }
    temp.persist(path).map_err(Error::io(path))?;
    sync(dir)?;
    remove(&old)
}

/// Removes a directory, if it exists.
fn remove(dir: &Path) -> Result<(), Error> {
    if dir.exists() {
        std::fs::remove_dir_all(dir).map_err(Error::io(dir))?;
    }
    Ok(())
}

/// Loads the weights in `best/` into `model`.
pub fn load_best(from: &Checkpoints, model: &mut Model) -> Result<(), Error> {
    let path = from.dir.join(DIR);
    checksums::check(&path)?;
    let best = load_like(&path, model, &*from.comm)?;
    copy_weights(&best, model)
}
