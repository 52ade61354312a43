//! Checkpoints: a loadable Hugging Face directory with the training state next to the weights.
//!
//! ```text
//! OUT/checkpoint-40/config.json model.safetensors tokenizer.json …   any tool loads it
//! OUT/checkpoint-40/training_state.json                               step, position in the data, rollouts of a step
//! OUT/checkpoint-40/training_state.safetensors                        optimizer, reference model, f32 weights
//! OUT/checkpoint-40/checksums.json                                    length and SHA-256 of all these files
//! ```
//! A checkpoint is written under a temporary name, synced to disk and renamed. So a directory with the final name is
//! complete, no matter when the process is killed. Checksums detect later damage (a faulty disk, a bad copy): a run
//! continues from the newest checkpoint that is intact.

pub(crate) mod checksums;
mod find;

pub use find::Found;

use crate::data::fingerprint::Fingerprint;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::run::Run;
use crate::run_lock::RunLock;
use meno_model::temporary::Temporary;
use meno_model::{Dtype, Model, input};
use meno_tensor::backend::{self, Buffer, Weights};
use meno_tensor::finite::all_finite;
use safetensors::tensor::{Dtype as SafeDtype, SafeTensors, View};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
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
    pub begun: Option<Begun>,
    /// The checkpoint to continue from, if it was searched for before the run.
    pub found: Option<Found>,
    /// Keeps other processes out of the directory as long as a clone of this exists.
    pub lock: Option<Arc<RunLock>>,
}

/// The recipe and data that a run was started with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Begun {
    /// The resolved recipe.
    pub recipe: String,
    /// The data files.
    pub data: Vec<Fingerprint>,
}

impl Checkpoints {
    /// Writes checkpoints with f32 weights to `dir` every `save_steps` optimizer steps and keeps the last two.
    pub fn new(dir: impl Into<PathBuf>, save_steps: usize) -> Self {
        let (dir, dtype, assets) = (dir.into(), Dtype::F32, Vec::new());
        let (begun, found, lock) = (None, None, None);
        Checkpoints { dir, save_steps, save_total_limit: 2, dtype, resume: false, assets, begun, found, lock }
    }

    /// Returns true if a checkpoint is due after `step` of `max_steps`.
    pub fn due(&self, step: usize, max_steps: usize) -> bool {
        step >= max_steps || (self.save_steps > 0 && step.is_multiple_of(self.save_steps))
    }
}

/// Everything except the weights that a run needs to continue exactly.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// pretrain, sft or grpo.
    pub stage: String,
    /// Optimizer steps completed.
    pub step: usize,
    /// Position in the data: documents, examples or questions consumed.
    pub position: u64,
    /// Tokens trained on.
    pub num_tokens: u64,
    /// Optimizer updates made (a step without gradients makes none).
    #[serde(default)]
    pub optimizer_steps: u64,
    /// Stage-specific state.
    #[serde(default)]
    pub extra: serde_json::Value,
    /// The metrics of step `step`, if the run was stopped before the end of its evaluation. A resumed run performs that
    /// evaluation first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<Unfinished>,
    /// The recipe and data at the start of the run; missing in checkpoints of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<Begun>,
}

/// The metrics of a step whose evaluation was stopped, bit for bit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unfinished {
    /// Name and bits of each metric.
    values: Vec<(String, u64)>,
    /// Tokens computed.
    rows: usize,
}

impl Unfinished {
    /// Stores the metrics of a step over `rows` tokens.
    pub(crate) fn new(metrics: &Metrics, rows: usize) -> Unfinished {
        let values = metrics.values.iter().map(|(name, value)| (name.to_string(), value.to_bits())).collect();
        Unfinished { values, rows }
    }

    /// Returns the metrics of step `step` and its number of tokens.
    pub(crate) fn of_step(self, step: usize) -> (Metrics, usize) {
        let mut metrics = Metrics::new(step);
        self.values.into_iter().for_each(|(name, bits)| metrics.push(name, f64::from_bits(bits)));
        (metrics, self.rows)
    }
}

impl State {
    /// Number of completed and recorded steps; a resumed run does not repeat them.
    pub(crate) fn steps_over(&self) -> usize {
        self.step.saturating_sub(usize::from(self.unfinished.is_some()))
    }
}

/// Named f32 blocks that belong to a [`State`]: vectors on the device.
pub type Blocks<'a> = Vec<(String, &'a dyn Buffer)>;

/// A block to write.
#[derive(Clone, Copy)]
enum Block<'a> {
    Buffer(&'a dyn Buffer),
    Weights(&'a dyn Weights),
}

impl<'a> Block<'a> {
    fn len(self) -> usize {
        match self {
            Block::Buffer(buffer) => buffer.len(),
            Block::Weights(weights) => weights.layout().total(),
        }
    }
    fn read(self) -> Result<Cow<'a, [f32]>, backend::Error> {
        match self {
            Block::Buffer(buffer) => buffer.read(0..buffer.len()),
            Block::Weights(weights) => weights.read_all(),
        }
    }
}

/// A block for safetensors, read from the device only when it is written.
struct BlockView<'a> {
    block: Block<'a>,
    shape: [usize; 1],
}

impl View for BlockView<'_> {
    fn dtype(&self) -> SafeDtype {
        SafeDtype::F32
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        // If the device is lost, the run ends here; the incomplete checkpoint still has its temporary name.
        match self.block.read().expect("the device answers") {
            Cow::Borrowed(values) => Cow::Borrowed(bytemuck::cast_slice(values)),
            Cow::Owned(values) => Cow::Owned(bytemuck::cast_slice(&values).to_vec()),
        }
    }
    fn data_len(&self) -> usize {
        self.block.len() * size_of::<f32>()
    }
}

/// The f32 blocks read from a checkpoint.
pub type OwnedBlocks = HashMap<String, Vec<f32>>;

const MASTER: &str = "master_weights";

/// Writes the checkpoint of `state.step` and returns its path.
pub fn save<'a>(to: &Checkpoints, model: &'a Model, state: &State, blocks: Blocks<'a>) -> Result<PathBuf, Error> {
    std::fs::create_dir_all(&to.dir).map_err(Error::io(&to.dir))?;
    let path = to.dir.join(format!("checkpoint-{}", state.step));
    let temp = Temporary::at(to.dir.join(format!(".checkpoint-{}.tmp", state.step)));
    // Remove incomplete directories that a killed process left, of this step or another.
    for entry in std::fs::read_dir(&to.dir).map_err(Error::io(&to.dir))?.flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|n| n.starts_with(".checkpoint-") && n.ends_with(".tmp")) {
            std::fs::remove_dir_all(entry.path()).map_err(Error::io(temp.path()))?;
        }
    }
    std::fs::create_dir_all(temp.path()).map_err(Error::io(temp.path()))?;
    write(to, model, state, blocks, temp.path())?;
    if path.exists() {
        std::fs::remove_dir_all(&path).map_err(Error::io(&path))?;
    }
    temp.persist(&path).map_err(Error::io(&path))?;
    sync(&to.dir)?;
    if to.save_total_limit > 0 {
        let all = to.all();
        for (_, old) in &all[..all.len().saturating_sub(to.save_total_limit)] {
            std::fs::remove_dir_all(old).map_err(Error::io(old))?;
        }
    }
    Ok(path)
}

fn write<'a>(to: &Checkpoints, model: &'a Model, state: &State, blocks: Blocks<'a>, dir: &Path) -> Result<(), Error> {
    save_model(to, model, dir)?;
    let master = (to.dtype != Dtype::F32).then_some((MASTER, Block::Weights(&*model.weights)));
    let blocks = blocks.iter().map(|(name, buffer)| (name.as_str(), Block::Buffer(*buffer)));
    let views = blocks.chain(master).map(|(name, block)| (name, BlockView { block, shape: [block.len()] }));
    let file = dir.join("training_state.safetensors");
    safetensors::serialize_to_file(views, None, &file)
        .map_err(|e| Error::Checkpoint { path: file.clone(), message: format!("could not be written: {e}") })?;
    let state = State { begun: to.begun.clone().or_else(|| state.begun.clone()), ..state.clone() };
    let json = serde_json::to_vec(&state).expect("invariant: the state is plain data");
    let file = dir.join("training_state.json");
    std::fs::write(&file, json).map_err(Error::io(&file))?;
    checksums::write(dir)?;
    for entry in std::fs::read_dir(dir).map_err(Error::io(dir))?.flatten() {
        sync(&entry.path())?;
    }
    sync(dir)
}

/// Writes the model and its assets to `dir`, at the end of a run. Fails if a weight is not finite, because such a model
/// cannot be loaded.
pub fn save_model(to: &Checkpoints, model: &Model, dir: &Path) -> Result<(), Error> {
    let layout = model.layout();
    for (p, info) in layout.iter().filter(|(p, _)| !layout.is_quantized(*p)) {
        if all_finite(&model.weights.read(p)?) {
            continue;
        }
        let message = format!(
            "the weight `{}` is not finite any more, so nothing is saved: lower `train.learning_rate`, or resume from \
             an earlier checkpoint",
            info.name
        );
        return Err(error(dir, message));
    }
    std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
    for (name, bytes) in &to.assets {
        let file = dir.join(name);
        std::fs::write(&file, bytes).map_err(Error::io(&file))?;
    }
    Ok(model.save(dir, to.dtype)?)
}

pub(crate) fn sync(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|f| f.sync_all()).map_err(Error::io(path))
}

/// Reads the training state of a checkpoint.
pub fn read_state(checkpoint: &Path) -> Result<State, Error> {
    let file = checkpoint.join("training_state.json");
    let json = input::read(&file, MAX_STATE).map_err(Error::io(&file))?;
    serde_json::from_slice(&json).map_err(|e| error(&file, format!("not a training state: {e}")))
}

/// Maximum size in bytes of `training_state.json`, which contains the rollouts of a step with their tokens as text.
const MAX_STATE: u64 = 4 << 30;

fn error(path: &Path, message: String) -> Error {
    Error::Checkpoint { path: path.to_owned(), message }
}

/// Reads the f32 blocks of a `training_state.safetensors`.
pub fn read_blocks(file: &Path) -> Result<OwnedBlocks, Error> {
    let bytes = input::read(file, u64::MAX - 1).map_err(Error::io(file))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| error(file, format!("not a training state: {e}")))?;
    let mut blocks = OwnedBlocks::new();
    for (name, view) in tensors.iter() {
        if view.dtype() != SafeDtype::F32 {
            return Err(error(file, format!("`{name}` is {:?}, expected F32", view.dtype())));
        }
        let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        blocks.insert(name.to_owned(), values);
    }
    Ok(blocks)
}

/// Loads the newest intact checkpoint of `stage` into `model` if the run is to resume, and notifies the observer of
/// damaged ones.
pub(crate) fn resume(run: &mut Run, model: &mut Model, stage: &str) -> Result<Option<(State, OwnedBlocks)>, Error> {
    let Some(from) = run.checkpoints.as_ref().filter(|c| c.resume) else { return Ok(None) };
    let found = match &from.found {
        Some(found) => found.clone(),
        None => {
            let Some(found) = from.newest_whole()? else { return Ok(None) };
            found.notes.iter().for_each(|note| run.observer.on_note(note));
            found
        }
    };
    let (path, state) = (&found.path, &found.state);
    if state.stage != stage {
        return Err(error(path, format!("is a checkpoint of `meno {}`, not of `meno {stage}`", state.stage)));
    }
    let mut blocks = read_blocks(&path.join("training_state.safetensors"))?;
    let saved = Model::load(path)?;
    if saved.layout().total() != model.layout().total() {
        let (is, was) = (model.layout().count(), saved.layout().count());
        return Err(error(path, format!("holds {was} parameters, the recipe's model has {is}: not the same model")));
    }
    match blocks.remove(MASTER) {
        Some(master) => set_weights(path, &master, model)?,
        None => copy_weights(&saved, model)?,
    }
    found.set_aside_damaged()?;
    Ok(Some((found.state, blocks)))
}

/// Copies the weights between models of the same shape.
pub(crate) fn copy_weights(from: &Model, to: &mut Model) -> Result<(), Error> {
    for (p, info) in to.layout().clone().iter() {
        let values = from.weights.read(p)?;
        assert!(values.len() == info.len(), "invariant: models of one shape");
        to.weights.update(p, &mut |weights| weights.copy_from_slice(&values))?;
    }
    Ok(())
}

/// Sets all weights from a block of a checkpoint with the layout of the parameters.
fn set_weights(path: &Path, from: &[f32], to: &mut Model) -> Result<(), Error> {
    let layout = to.layout().clone();
    check_len(path, MASTER, from.len(), layout.total())?;
    for (p, info) in layout.iter() {
        to.weights.update(p, &mut |weights| weights.copy_from_slice(&from[info.range()]))?;
    }
    Ok(())
}

/// Copies a block of a checkpoint to a vector on the device.
pub(crate) fn set_buffer(path: &Path, name: &str, from: &[f32], to: &mut dyn Buffer) -> Result<(), Error> {
    check_len(path, name, from.len(), to.len())?;
    Ok(to.update(0..from.len(), &mut |values| values.copy_from_slice(from))?)
}

/// Fails if a block belongs to another model.
fn check_len(path: &Path, name: &str, is: usize, expected: usize) -> Result<(), Error> {
    match is == expected {
        true => Ok(()),
        false => Err(error(path, format!("`{name}` has {is} values, expected {expected}: not the same model"))),
    }
}
