//! The report of a finished run, from its directory alone.

use super::Report;
use crate::measure::Measures;
use crate::provenance::with_program;
use crate::record::{self, StageRecord};
use crate::stages::STAGES;
use crate::{Begun, Provenance};
use meno_train::error::Error;
use std::path::Path;

impl Report {
    /// Reads what the stages of the run in `dir` left behind. Where, when and by which command it was made is what its
    /// `report.json` says; `otherwise` if there is none.
    pub fn open(dir: &Path, otherwise: Provenance) -> Result<Report, Error> {
        let wrong = |message: String| Error::Checkpoint { path: dir.to_owned(), message };
        let Some(Begun { seed, settings }) = record::read_json(&dir.join("run.json"))? else {
            return Err(wrong("holds no run of `meno replicate`: there is no run.json".into()));
        };
        let mut records = Vec::new();
        for stage in &STAGES {
            let unfinished = || {
                let name = stage.title;
                wrong(format!(
                    "the stage “{name}” is not finished: finish it with the `meno replicate` that began the run"
                ))
            };
            records.push(record::load(&dir.join(stage.name))?.ok_or_else(unfinished)?);
        }
        check(dir, &records)?;
        let mut provenance: Provenance = record::read_json(&dir.join("report.json"))?.unwrap_or(otherwise);
        provenance.command = with_program(&provenance.command);
        Ok(Report::new(&settings, seed, provenance, records))
    }
}

/// Whether the records are those of a run: files can be damaged or mixed up.
pub(crate) fn check(dir: &Path, records: &[StageRecord]) -> Result<(), Error> {
    let problems = records.iter().find_map(|r| r.measures.as_ref()).map_or(0, |m| m.per_problem.pass1.len());
    for (stage, record) in STAGES.iter().zip(records) {
        let wrong = |what: String| {
            let path = dir.join(stage.name).join("stage.json");
            Error::Checkpoint { path, message: format!("{what}; remove it to do its stage again") }
        };
        if record.name != stage.name {
            return Err(wrong(format!("is the record of the stage `{}`", record.name)));
        }
        let whole = |m: &Measures| m.per_problem.pass1.len() == problems && m.per_problem.length.len() == problems;
        match &record.measures {
            None if stage.name != "tokenizer" => return Err(wrong("holds no measurement".into())),
            Some(m) if !whole(m) => {
                let (a, b) = (m.per_problem.pass1.len(), m.per_problem.length.len());
                return Err(wrong(format!("measures {a} and {b} problems, other stages {problems}")));
            }
            _ => {}
        }
    }
    Ok(())
}
