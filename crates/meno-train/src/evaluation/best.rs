//! The best model of a run: `best/`, a Hugging Face directory beside the checkpoints, with its score in `eval.json`.
//!
//! It is no checkpoint: the limit on checkpoints does not count it, and a run is not resumed from it.

use crate::checkpoint::{Checkpoints, restore, save_model, sync};
use crate::error::Error;
use meno_eval::score::Summary;
use meno_model::Model;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Its name in the directory of the run.
pub const DIR: &str = "best";

/// When a run was best, and how good.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Optimizer steps made then.
    pub step: usize,
    /// The score. f32, which the JSON of a checkpoint brings back exactly.
    pub score: f32,
}

/// What stands in `eval.json`.
#[derive(Serialize)]
struct Record<'a> {
    step: usize,
    score: f32,
    task: &'a str,
    summary: &'a Summary,
}

/// Writes the model to `best/` in place of the one before.
pub(super) fn keep(
    to: &Checkpoints,
    model: &Model,
    best: &Best,
    task: &str,
    summary: &Summary,
) -> Result<PathBuf, Error> {
    let (path, temp, old) = (to.dir.join(DIR), to.dir.join(".best.tmp"), to.dir.join(".best.old"));
    for left in [&temp, &old] {
        if left.exists() {
            std::fs::remove_dir_all(left).map_err(Error::io(left))?;
        }
    }
    save_model(to, model, &temp)?;
    let record = Record { step: best.step, score: best.score, task, summary };
    let file = temp.join("eval.json");
    let json = serde_json::to_vec_pretty(&record).expect("invariant: the record is plain data");
    std::fs::write(&file, json).map_err(Error::io(&file))?;
    for entry in std::fs::read_dir(&temp).map_err(Error::io(&temp))?.flatten() {
        sync(&entry.path())?;
    }
    // A kill between the two leaves none for the moment: the step has no checkpoint yet, and is measured again.
    if path.exists() {
        std::fs::rename(&path, &old).map_err(Error::io(&path))?;
    }
    std::fs::rename(&temp, &path).map_err(Error::io(&path))?;
    sync(&to.dir)?;
    if old.exists() {
        std::fs::remove_dir_all(&old).map_err(Error::io(&old))?;
    }
    Ok(path)
}

/// Brings `model` to the weights in `best/`.
pub fn load_best(from: &Checkpoints, model: &mut Model) -> Result<(), Error> {
    let path = from.dir.join(DIR);
    let best = Model::load(&path)?;
    restore(&path, "model.safetensors", best.params.data(), model.params.data_mut())
}
