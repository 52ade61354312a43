//! What a stage leaves behind: `stage.json`, complete or absent, and the curves of its steps.

use super::Watch;
use super::measure::Measures;
use super::stages::figures;
use meno_train::error::Error;
use meno_train::metrics::Metrics;
use meno_train::rollout::Rollout;
use meno_train::run::Observer;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Everything a report shows of a stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageRecord {
    /// Its directory.
    pub name: String,
    /// What people read.
    pub title: String,
    /// Where the paper has it.
    pub section: String,
    /// Wall seconds, the measurement included, resumptions added up.
    pub seconds: f64,
    /// Wall seconds of sampling and training alone.
    pub trained_seconds: f64,
    /// Parameters, all and active ones.
    pub parameters: [u64; 2],
    /// 2 per active parameter and token sampled, 6 per token trained on; a teacher's sampling is counted.
    pub flops: f64,
    /// max |logp_rollout − logp_train| over all steps, where there were rollouts.
    pub max_logprob_gap: Option<f64>,
    /// The figures on held-out problems.
    pub measures: Option<Measures>,
    /// pass@1 by forced style.
    pub forced: Vec<(String, f64)>,
    /// What else there is to tell.
    pub facts: Value,
    /// The figures of the steps.
    pub history: Vec<Map<String, Value>>,
}

impl StageRecord {
    /// A word on the result.
    pub fn result(&self) -> String {
        match &self.measures {
            Some(m) => format!("pass@1 {:.1} %, {:.0} tokens", 100.0 * m.score.pass1.mean, m.score.mean_tokens.mean),
            None => self.facts["vocabulary"].as_u64().map_or(String::new(), |v| format!("{v} tokens")),
        }
    }
}

/// Most bytes of a record: of traces, the longest, some kilobytes each.
const MAX_RECORD: u64 = 4 << 30;

/// Reads a JSON file, if it is there.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let bytes = match meno_model::input::read(path, MAX_RECORD) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(Error::io(path))?,
    };
    let bad = |e: serde_json::Error| Error::Checkpoint {
        path: path.to_owned(),
        message: format!("cannot be read: {e}; remove it to do its stage again"),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(bad)
}

/// Writes a JSON file under a temporary name and renames it: it is complete or absent.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let temp = path.with_extension("json.tmp");
    let json = serde_json::to_vec_pretty(value).expect("invariant: records are plain data");
    let mut file = File::create(&temp).map_err(Error::io(&temp))?;
    file.write_all(&json).and_then(|()| file.sync_all()).map_err(Error::io(&temp))?;
    std::fs::rename(&temp, path).map_err(Error::io(path))
}

/// The record of a finished stage.
pub(super) fn load(dir: &Path) -> Result<Option<StageRecord>, Error> {
    read_json(&dir.join("stage.json"))
}

/// Marks a stage as finished; its checkpoints are no longer needed.
pub(super) fn save(dir: &Path, record: &StageRecord) -> Result<(), Error> {
    write_json(&dir.join("stage.json"), record)?;
    for entry in std::fs::read_dir(dir).map_err(Error::io(dir))?.flatten() {
        if entry.file_name().to_string_lossy().starts_with("checkpoint-") {
            std::fs::remove_dir_all(entry.path()).map_err(Error::io(&entry.path()))?;
        }
    }
    Ok(())
}

/// Seconds that a stage had taken when its last checkpoint was written.
pub(super) fn elapsed(dir: &Path) -> f64 {
    std::fs::read_to_string(dir.join("elapsed")).ok().and_then(|s| s.trim().parse().ok()).unwrap_or(0.0)
}

fn lines(path: &Path) -> Result<Vec<Map<String, Value>>, Error> {
    let text = match std::fs::read_to_string(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        text => text.map_err(Error::io(path))?,
    };
    // A line that a kill cut short is of a step that is made again.
    Ok(text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect())
}

/// The figures of all steps of a stage, behaviour included.
pub(super) fn history(dir: &Path) -> Result<Vec<Map<String, Value>>, Error> {
    let mut steps = lines(&dir.join("metrics.jsonl"))?;
    let behaviour = lines(&dir.join("behaviour.jsonl"))?;
    for step in &mut steps {
        // A step made twice, before and after a kill, counts by its second making; they are equal.
        if let Some(more) = behaviour.iter().rev().find(|b| b.get("step") == step.get("step")) {
            step.extend(more.clone());
        }
    }
    Ok(steps)
}

/// The largest value of a figure.
pub(super) fn max(history: &[Map<String, Value>], name: &str) -> Option<f64> {
    history.iter().filter_map(|s| s.get(name)?.as_f64()).reduce(f64::max)
}

/// The sum of a figure over the steps.
pub(super) fn sum(history: &[Map<String, Value>], name: &str) -> f64 {
    history.iter().filter_map(|s| s.get(name)?.as_f64()).sum()
}

/// The last value of a figure.
pub(super) fn last(dir: &Path, name: &str) -> Result<f64, Error> {
    Ok(history(dir)?.iter().rev().find_map(|s| s.get(name)?.as_f64()).unwrap_or(0.0))
}

/// Watches a stage for the one who watches the run, and writes down what its rollouts do.
pub(super) struct Watching<'a> {
    watch: &'a mut dyn Watch,
    dir: PathBuf,
    behaviour: File,
    latest: Vec<(&'static str, f64)>,
    before: f64,
    clock: Instant,
}

impl<'a> Watching<'a> {
    pub(super) fn new(watch: &'a mut dyn Watch, dir: &Path) -> Result<Self, Error> {
        let path = dir.join("behaviour.jsonl");
        let behaviour = File::options().append(true).create(true).open(&path).map_err(Error::io(&path))?;
        let (before, clock) = (elapsed(dir), Instant::now());
        Ok(Watching { watch, dir: dir.to_owned(), behaviour, latest: Vec::new(), before, clock })
    }
}

impl Observer for Watching<'_> {
    fn on_step(&mut self, metrics: &Metrics, max_steps: usize) {
        let mut all = metrics.clone();
        if !self.latest.is_empty() {
            let mut line = Metrics::new(metrics.step);
            for (name, value) in self.latest.drain(..) {
                line.push(name, value);
                all.push(name, value);
            }
            // Curves are worth having, not worth ending a run for.
            let _ = writeln!(self.behaviour, "{}", line.to_json());
        }
        self.watch.on_step(&all, max_steps);
    }

    fn on_progress(&mut self, what: &str, done: usize, total: usize) {
        self.watch.on_progress(what, done, total);
    }

    fn on_sampled(&mut self, tokens: usize, seconds: f64) {
        self.watch.on_sampled(tokens, seconds);
    }

    fn on_rollouts(&mut self, rollouts: &[Rollout]) {
        self.latest = figures(rollouts);
        self.watch.on_rollouts(rollouts);
    }

    fn on_note(&mut self, line: &str) {
        self.watch.on_note(line);
    }

    fn on_checkpoint(&mut self, path: &Path) {
        let seconds = self.before + self.clock.elapsed().as_secs_f64();
        let _ = std::fs::write(self.dir.join("elapsed"), format!("{seconds}\n"));
        self.watch.on_checkpoint(path);
    }

    fn should_stop(&mut self) -> bool {
        self.watch.should_stop()
    }
}
