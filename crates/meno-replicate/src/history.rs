//! The metrics of a stage's steps, read from its log files.

use meno_train::Error;
use serde_json::{Map, Value};
use std::path::Path;

/// The metrics of all steps of the stage in `dir`, with the behaviour of the rollouts.
pub(crate) fn history(dir: &Path) -> Result<Vec<Map<String, Value>>, Error> {
    let mut steps = lines(&dir.join("metrics.jsonl"))?;
    let behaviour = lines(&dir.join("behaviour.jsonl"))?;
    for step in &mut steps {
        // A step that was repeated after a kill has two lines. They are equal; take the last.
        if let Some(more) = behaviour.iter().rev().find(|b| b.get("step") == step.get("step")) {
            step.extend(more.clone());
        }
    }
    Ok(steps)
}

fn lines(path: &Path) -> Result<Vec<Map<String, Value>>, Error> {
    let text = match std::fs::read_to_string(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        text => text.map_err(Error::io(path))?,
    };
    // Skip a line that a kill cut short: its step is repeated.
    Ok(text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect())
}

/// The largest value of a metric; `None` if no step has it.
pub(crate) fn max(history: &[Map<String, Value>], name: &str) -> Option<f64> {
    history.iter().filter_map(|s| s.get(name)?.as_f64()).reduce(f64::max)
}

/// The sum of a metric over the steps.
pub(crate) fn sum(history: &[Map<String, Value>], name: &str) -> f64 {
    history.iter().filter_map(|s| s.get(name)?.as_f64()).sum()
}

/// The last value of a metric; 0 if no step has it.
pub(crate) fn last(history: &[Map<String, Value>], name: &str) -> f64 {
    history.iter().rev().find_map(|s| s.get(name)?.as_f64()).unwrap_or(0.0)
}
