//! What a run needs to continue, besides the weights: `training_state.json`.

use crate::data::fingerprint::Fingerprint;
use crate::error::Error;
use crate::metrics::Metrics;
use meno_model::input;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The recipe and data that a run was started with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunInputs {
    /// The resolved recipe.
    pub recipe: String,
    /// The data files.
    pub data: Vec<Fingerprint>,
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
    #[serde(default, rename = "begun", skip_serializing_if = "Option::is_none")]
    pub inputs: Option<RunInputs>,
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

/// Reads the training state of a checkpoint.
pub fn read_state(checkpoint: &Path) -> Result<State, Error> {
    let file = checkpoint.join("training_state.json");
    let json = input::read(&file, MAX_STATE).map_err(Error::io(&file))?;
    serde_json::from_slice(&json).map_err(|e| Error::checkpoint(&file, format!("not a training state: {e}")))
}

/// Maximum size in bytes of `training_state.json`, which contains the rollouts of a step with their tokens as text.
const MAX_STATE: u64 = 4 << 30;
