//! Loads the checkpoint that a run continues from.

use super::blocks::{MASTER, OwnedBlocks, copy_weights, load_like, read_blocks, set_weights};
use super::checkpoints::Checkpoints;
use super::state::State;
use crate::error::Error;
use crate::observer::Observer;
use meno_model::Model;

/// Loads the newest intact checkpoint of `stage` into `model` if the run is to resume `from` one, and notifies the
/// observer of damaged ones.
pub(crate) fn resume(
    from: Option<&Checkpoints>,
    observer: &mut dyn Observer,
    model: &mut Model,
    stage: &str,
) -> Result<Option<(State, OwnedBlocks)>, Error> {
    let Some(from) = from.filter(|c| c.resume) else { return Ok(None) };
    let found = match &from.found {
        Some(found) => found.clone(),
        None => {
            let Some(found) = from.newest_whole_of_all()? else { return Ok(None) };
            found.notes.iter().for_each(|note| observer.on_note(note));
            found
        }
    };
    let (path, state) = (&found.path, &found.state);
    if state.stage != stage {
        return Err(Error::checkpoint(
            path,
            format!("is a checkpoint of `meno {}`, not of `meno {stage}`", state.stage),
        ));
    }
    let mut blocks = read_blocks(&path.join("training_state.safetensors"))?;
    let saved = load_like(path, model, &*from.comm)?;
    if saved.layout().total() != model.layout().total() {
        let (is, was) = (model.layout().count(), saved.layout().count());
        return Err(Error::checkpoint(
            path,
            format!("holds {was} parameters, the recipe's model has {is}: not the same model"),
        ));
    }
    match blocks.remove(MASTER) {
        Some(master) => set_weights(path, &master, model)?,
        None => copy_weights(&saved, model)?,
    }
    if from.comm.is_first() {
        found.set_aside_damaged()?;
    }
    Ok(Some((found.state, blocks)))
}
