//! `stage.json`: the results of a finished stage. The file exists only if the stage is finished.

use crate::json_file::{read_json, write_json};
use crate::measure::Measures;
use meno_train::Error;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;

/// Everything that a report shows of a stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageRecord {
    /// The name of the stage's directory.
    pub name: String,
    /// The title shown to people.
    pub title: String,
    /// The section of the paper.
    pub section: String,
    /// Wall seconds, including the measurement and all earlier attempts.
    pub seconds: f64,
    /// Wall seconds of sampling and training, without the measurement.
    pub trained_seconds: f64,
    /// Number of parameters: all, and those active per token.
    pub parameters: [u64; 2],
    /// FLOPs: 2 per active parameter and token sampled, 6 per token trained on. A teacher's sampling counts.
    pub flops: f64,
    /// The largest |logp_rollout − logp_train| of all steps; `None` without rollouts.
    pub max_logprob_gap: Option<f64>,
    /// The results on held-out problems; `None` for the tokenizer.
    pub measures: Option<Measures>,
    /// pass@1 by the reasoning style that the answer was forced to begin with.
    pub forced: Vec<(String, f64)>,
    /// Figures that only some kinds of stages have.
    pub facts: Value,
    /// The metrics of every step.
    pub history: Vec<Map<String, Value>>,
}

impl StageRecord {
    /// The result in a few words.
    pub fn result(&self) -> String {
        match &self.measures {
            Some(m) => format!("pass@1 {:.1} %, {:.0} tokens", 100.0 * m.score.pass1.mean, m.score.mean_tokens.mean),
            None => self.facts["vocabulary"].as_u64().map_or(String::new(), |v| format!("{v} tokens")),
        }
    }

    /// Reads the record of the stage in `dir`; `None` if the stage is not finished.
    pub(crate) fn load(dir: &Path) -> Result<Option<StageRecord>, Error> {
        read_json(&dir.join("stage.json"))
    }

    /// Writes the record, which marks the stage as finished, and deletes the checkpoints it no longer needs.
    pub(crate) fn save(&self, dir: &Path) -> Result<(), Error> {
        write_json(&dir.join("stage.json"), self)?;
        for entry in std::fs::read_dir(dir).map_err(Error::io(dir))?.flatten() {
            if entry.file_name().to_string_lossy().starts_with("checkpoint-") {
                std::fs::remove_dir_all(entry.path()).map_err(Error::io(&entry.path()))?;
            }
        }
        Ok(())
    }
}
