//! `run.json`: which run a directory holds. Resuming with other settings would mix two runs, so it is rejected.

use crate::json_file::{read_json, write_json};
use crate::settings::Settings;
use meno_train::Error;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The seed and the settings of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunManifest {
    pub(crate) seed: u64,
    pub(crate) settings: Settings,
}

impl RunManifest {
    /// Reads the manifest of the run in `dir`; `None` if there is none.
    pub(crate) fn load(dir: &Path) -> Result<Option<RunManifest>, Error> {
        read_json(&dir.join("run.json"))
    }

    /// Writes the manifest into a new directory, or checks that the directory holds this very run.
    pub(crate) fn claim(&self, dir: &Path) -> Result<(), Error> {
        match RunManifest::load(dir)? {
            None => write_json(&dir.join("run.json"), self),
            Some(before) if before == *self => Ok(()),
            Some(before) => {
                let differs = before.seed != self.seed;
                let what = if differs { format!("seed {}", before.seed) } else { "other settings".into() };
                let message = format!(
                    "holds a run that was started with {what}: choose another output directory (`--out`), or remove \
                     that run"
                );
                Err(Error::Checkpoint { path: dir.to_owned(), message })
            }
        }
    }
}
