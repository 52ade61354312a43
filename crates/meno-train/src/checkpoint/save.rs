//! Writes a checkpoint.

use super::blocks::{Blocks, write_blocks};
use super::checkpoints::Checkpoints;
use super::checksums;
use super::state::State;
use crate::error::Error;
use meno_model::Model;
use meno_model::temporary::Temporary;
use meno_tensor::finite::all_finite;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Writes the checkpoint of `state.step` and returns its path. All ranks call it; each writes a part of the values.
pub fn save<'a>(to: &Checkpoints, model: &'a Model, state: &State, blocks: Blocks<'a>) -> Result<PathBuf, Error> {
    let path = to.dir.join(format!("checkpoint-{}", state.step));
    let temp = to.dir.join(format!(".checkpoint-{}.tmp", state.step));
    // The first rank removes the directory if anything fails.
    let first = to.comm.is_first().then(|| Temporary::at(temp.clone()));
    if first.is_some() {
        prepare(&to.dir, &temp)?;
    }
    to.comm.barrier();
    write(to, model, state, blocks, &temp)?;
    if let Some(temp) = first {
        replace(to, temp, &path)?;
    }
    to.comm.barrier();
    Ok(path)
}

/// Creates an empty directory for a checkpoint. Removes incomplete ones that a killed process left, of this step or
/// another.
fn prepare(dir: &Path, temp: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
    for entry in std::fs::read_dir(dir).map_err(Error::io(dir))?.flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|n| n.starts_with(".checkpoint-") && n.ends_with(".tmp")) {
            std::fs::remove_dir_all(entry.path()).map_err(Error::io(temp))?;
        }
    }
    std::fs::create_dir_all(temp).map_err(Error::io(temp))
}

/// Gives a complete checkpoint its final name, and removes old checkpoints.
fn replace(to: &Checkpoints, temp: Temporary, path: &Path) -> Result<(), Error> {
    sync_files(temp.path())?;
    sync(temp.path())?;
    if path.exists() {
        std::fs::remove_dir_all(path).map_err(Error::io(path))?;
    }
    temp.persist(path).map_err(Error::io(path))?;
    sync(&to.dir)?;
    if to.save_total_limit > 0 {
        let all = to.all();
        for (_, old) in &all[..all.len().saturating_sub(to.save_total_limit)] {
            std::fs::remove_dir_all(old).map_err(Error::io(old))?;
        }
    }
    Ok(())
}

fn write<'a>(to: &Checkpoints, model: &'a Model, state: &State, blocks: Blocks<'a>, dir: &Path) -> Result<(), Error> {
    save_model(to, model, dir)?;
    write_blocks(&dir.join("training_state.safetensors"), &blocks, &*to.comm)?;
    if to.comm.is_first() {
        let state = State { inputs: to.inputs.clone().or_else(|| state.inputs.clone()), ..state.clone() };
        let json = serde_json::to_vec(&state).expect("invariant: the state is plain data");
        let file = dir.join("training_state.json");
        std::fs::write(&file, json).map_err(Error::io(&file))?;
    }
    to.comm.barrier();
    checksums::write(dir, &*to.comm)
}

/// Writes the model and its assets to `dir`, at the end of a run. Fails if a weight is not finite, because such a model
/// cannot be loaded. All ranks call it.
pub fn save_model(to: &Checkpoints, model: &Model, dir: &Path) -> Result<(), Error> {
    let layout = model.layout();
    for (p, info) in layout.iter().filter(|(p, info)| !layout.is_quantized(*p) && !info.absent) {
        if all_finite(&model.weights.read(p)?) {
            continue;
        }
        let message = format!(
            "the weight `{}` is not finite any more, so nothing is saved: lower `train.learning_rate`, or resume from \
             an earlier checkpoint",
            info.name
        );
        return Err(Error::checkpoint(dir, message));
    }
    if to.comm.is_first() {
        std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
        for (name, bytes) in &to.assets {
            let file = dir.join(name);
            std::fs::write(&file, bytes).map_err(Error::io(&file))?;
        }
    }
    Ok(model.save_together(dir, to.dtype, &*to.comm)?)
}

/// Writes all files of a directory through to the disk.
pub(crate) fn sync_files(dir: &Path) -> Result<(), Error> {
    std::fs::read_dir(dir).map_err(Error::io(dir))?.flatten().try_for_each(|entry| sync(&entry.path()))
}

pub(crate) fn sync(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|f| f.sync_all()).map_err(Error::io(path))
}
