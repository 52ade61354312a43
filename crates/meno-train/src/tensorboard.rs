//! Writes the metrics of a run as TensorBoard event files, `events.out.tfevents.*`, next to `metrics.jsonl`.
//!
//! A resumed run truncates the existing files to its checkpoint and starts a new file. As in TensorFlow's writers, the
//! first event of that file gives the step from which it is valid. So no step occurs twice, and a running TensorBoard
//! discards the steps that are repeated.

mod wire;

use crate::error::Error;
use crate::metrics::Metrics;
use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use wire::{Event, What};

/// The prefix of event file names; readers search for `tfevents`.
const PREFIX: &str = "events.out.tfevents.";

/// Other programs write the host name here. Files of other programs in the same directory are not changed.
const OURS: &str = "meno";

/// Maximum size in bytes of an event file that is read on resume.
const MAX_FILE: u64 = 4 << 30;

/// The event file of a run.
pub struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Opens a new file in `dir` for the steps after `step`; 0 for a new run.
    pub fn open(dir: &Path, step: usize) -> Result<Self, Error> {
        let mut latest = 0;
        for (path, seconds) in files(dir)? {
            latest = latest.max(seconds);
            if step == 0 {
                std::fs::remove_file(&path).map_err(Error::io(&path))?;
            } else {
                cut(&path, step)?;
            }
        }
        let now = seconds_now();
        // Readers process the files in the order of their names.
        let path = dir.join(format!("{PREFIX}{}.{OURS}.{}.0", (now as u64).max(latest + 1), std::process::id()));
        let file = OpenOptions::new().append(true).create_new(true).open(&path).map_err(Error::io(&path))?;
        let mut events = EventFile { path, file };
        events.append(&Event { wall_time: now, step: 0, what: What::Version })?;
        if step > 0 {
            events.append(&Event { wall_time: now, step: step + 1, what: What::Start })?;
        }
        Ok(events)
    }

    /// Appends the metrics of a step.
    pub fn write(&mut self, metrics: &Metrics) -> Result<(), Error> {
        let scalars = metrics.values.iter().map(|(name, value)| (tag(name), *value as f32)).collect();
        self.append(&Event { wall_time: seconds_now(), step: metrics.step, what: What::Scalars(scalars) })
    }

    fn append(&mut self, event: &Event) -> Result<(), Error> {
        self.file.write_all(&wire::record(&event.encode())).map_err(Error::io(&self.path))
    }
}

/// Returns the tag of a metric, as in transformers' and TRL's trainers: `eval/…` for held-out metrics, `train/…` for
/// others.
fn tag(name: &str) -> Cow<'_, str> {
    match name.starts_with("eval/") {
        true => Cow::Borrowed(name),
        false => Cow::Owned(format!("train/{name}")),
    }
}

fn seconds_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// Returns Meno's event files in `dir`, with the seconds in their names.
pub fn files(dir: &Path) -> Result<Vec<(PathBuf, u64)>, Error> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io(dir))?,
    };
    let ours = |path: PathBuf| {
        let (seconds, rest) = path.file_name()?.to_str()?.strip_prefix(PREFIX)?.split_once('.')?;
        let ours = rest.split('.').next() == Some(OURS);
        Some((seconds.parse().ok().filter(|_| ours)?, path)).map(|(s, p)| (p, s))
    };
    Ok(entries.flatten().filter_map(|e| ours(e.path())).collect())
}

/// Returns the steps in the event files of `dir`, in the order in which readers process them.
pub fn steps(dir: &Path) -> Result<Vec<u64>, Error> {
    let mut files = files(dir)?;
    files.sort();
    let mut steps = Vec::new();
    for (path, _) in files {
        let bytes = meno_model::input::read(&path, MAX_FILE).map_err(Error::io(&path))?;
        let events = wire::records(&bytes).filter_map(|(_, data)| wire::read(data));
        steps.extend(events.filter(|e| e.scalars).map(|e| e.step));
    }
    Ok(steps)
}

/// Removes everything after step `step`, and a record truncated by a kill. A file without steps is removed.
fn cut(path: &Path, step: usize) -> Result<(), Error> {
    let bytes = meno_model::input::read(path, MAX_FILE).map_err(Error::io(path))?;
    let (mut kept, mut steps) = (0, 0);
    for (end, data) in wire::records(&bytes) {
        let Some(event) = wire::read(data).filter(|e| e.step <= step as u64) else { break };
        kept = end;
        steps += usize::from(event.scalars);
    }
    if steps == 0 {
        return std::fs::remove_file(path).map_err(Error::io(path));
    }
    let file = OpenOptions::new().write(true).open(path).map_err(Error::io(path))?;
    file.set_len(kept as u64).map_err(Error::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(step: usize) -> Metrics {
        let mut m = Metrics::new(step);
        m.push("loss", 1.0 / step as f64);
        m
    }

    fn run(dir: &Path, after: usize, upto: usize) -> PathBuf {
        let mut file = EventFile::open(dir, after).unwrap();
        (after + 1..=upto).for_each(|step| file.write(&metrics(step)).unwrap());
        file.path
    }

    #[test]
    fn a_resumed_run_has_every_step_once() {
        let dir = tempfile::tempdir().unwrap();
        let first = run(dir.path(), 0, 5);
        // A kill in the middle of a record.
        OpenOptions::new().append(true).open(&first).unwrap().write_all(&[9, 0, 0]).unwrap();
        run(dir.path(), 3, 6);
        assert_eq!(steps(dir.path()).unwrap(), [1, 2, 3, 4, 5, 6]);
        // Killed before it made a step, then resumed from an earlier checkpoint: nothing occurs twice.
        run(dir.path(), 4, 4);
        run(dir.path(), 2, 4);
        assert_eq!(steps(dir.path()).unwrap(), [1, 2, 3, 4]);
        run(dir.path(), 0, 2);
        assert_eq!(steps(dir.path()).unwrap(), [1, 2]);
        assert_eq!(files(dir.path()).unwrap().len(), 1);
    }

    #[test]
    fn files_of_other_programs_stay() {
        let dir = tempfile::tempdir().unwrap();
        let other = dir.path().join("events.out.tfevents.1700000000.workstation.7.0");
        std::fs::write(&other, "theirs").unwrap();
        run(dir.path(), 0, 2);
        run(dir.path(), 1, 2);
        assert_eq!(std::fs::read(&other).unwrap(), b"theirs");
    }

    #[test]
    fn tags_are_those_of_trl() {
        assert_eq!(tag("completions/mean_length"), "train/completions/mean_length");
        assert_eq!(tag("eval/pass1"), "eval/pass1");
    }

    #[test]
    fn damaged_files_are_cut_where_the_damage_begins() {
        let dir = tempfile::tempdir().unwrap();
        let path = run(dir.path(), 0, 4);
        let mut bytes = std::fs::read(&path).unwrap();
        let ends: Vec<usize> = wire::records(&bytes).map(|(end, _)| end).collect();
        bytes[ends[2] + 14] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        run(dir.path(), 4, 5);
        assert_eq!(steps(dir.path()).unwrap(), [1, 2, 5]);
    }
}
