//! The metrics of every step, under TRL's names, written to `metrics.jsonl`.

use crate::error::Error;
use meno_model::temporary::Temporary;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// The metrics of one step, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// The optimizer step (or GRPO step), counted from 1: the number of steps made so far.
    pub step: usize,
    /// Name and value.
    pub values: Vec<(Cow<'static, str>, f64)>,
    /// Warnings for the user: signs that the run learns nothing, with their evidence.
    pub warnings: Vec<String>,
}

impl Metrics {
    /// Creates empty metrics of step `step`.
    pub fn new(step: usize) -> Self {
        Metrics { step, ..Metrics::default() }
    }
    /// Adds a metric.
    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, value: f64) {
        self.values.push((name.into(), value));
    }
    /// Returns the metric with this name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(n, _)| n == name).map(|(_, v)| *v)
    }
    /// Returns one JSON object. NaN and infinite values become null, and `warnings` is present only if there are any.
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        map.insert("step".into(), self.step.into());
        for (name, value) in &self.values {
            map.insert(name.to_string(), (*value).into());
        }
        if !self.warnings.is_empty() {
            map.insert("warnings".into(), self.warnings.clone().into());
        }
        Value::Object(map)
    }
}

/// `metrics.jsonl`: one line per step. Resuming truncates the lines after the step that the run resumes from.
pub struct MetricsFile {
    path: PathBuf,
    file: File,
}

impl MetricsFile {
    /// Opens `path` to append after step `step`; 0 starts a new file.
    pub fn open(path: &Path, step: usize) -> Result<Self, Error> {
        let keep = if step == 0 || !path.exists() { String::new() } else { Self::up_to(path, step)? };
        let temp = Temporary::at(path.with_extension("jsonl.tmp"));
        std::fs::write(temp.path(), keep).map_err(Error::io(temp.path()))?;
        temp.persist(path).map_err(Error::io(path))?;
        let file = OpenOptions::new().append(true).open(path).map_err(Error::io(path))?;
        Ok(MetricsFile { path: path.to_owned(), file })
    }

    fn up_to(path: &Path, step: usize) -> Result<String, Error> {
        let mut keep = String::new();
        for line in BufReader::new(meno_model::input::open(path).map_err(Error::io(path))?).lines() {
            let line = line.map_err(Error::io(path))?;
            // A line truncated by a kill, and everything after the checkpoint, is written again.
            let Ok(value) = serde_json::from_str::<Value>(&line) else { break };
            if value["step"].as_u64().is_none_or(|s| s > step as u64) {
                break;
            }
            keep.push_str(&line);
            keep.push('\n');
        }
        Ok(keep)
    }

    /// Appends the metrics of a step.
    pub fn write(&mut self, metrics: &Metrics) -> Result<(), Error> {
        writeln!(self.file, "{}", metrics.to_json()).map_err(Error::io(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resuming_cuts_what_came_after_the_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut file = MetricsFile::open(&path, 0).unwrap();
        for step in 1..=3 {
            let mut m = Metrics::new(step);
            m.push("loss", 1.0 / step as f64);
            file.write(&m).unwrap();
        }
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "{\"step\":4,\"lo").unwrap();
        MetricsFile::open(&path, 2).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"step\":1,\"loss\":1.0}\n{\"step\":2,\"loss\":0.5}\n");
    }
}
