//! Reads a finished run from its directory, and writes its report.

use super::contents::Report;
use super::page;
use crate::json_file::{read_json, write_json};
use crate::manifest::RunManifest;
use crate::provenance::{Provenance, with_program};
use crate::record::StageRecord;
use crate::records::StageRecords;
use crate::stage::Stage;
use meno_train::Error;
use std::path::Path;

impl Report {
    /// The files of a report: all figures, the page, and a picture to share.
    pub const FILES: [&str; 3] = ["report.json", "report.html", "report-card.svg"];

    /// Makes the report of the finished run in `dir`. The provenance is that of its `report.json`, or `fallback` if
    /// there is none.
    ///
    /// # Errors
    /// If `dir` holds no run, a stage is not finished, or records are damaged.
    pub fn open(dir: &Path, fallback: Provenance) -> Result<Report, Error> {
        let wrong = |message: String| Error::Checkpoint { path: dir.to_owned(), message };
        let Some(RunManifest { seed, settings }) = RunManifest::load(dir)? else {
            return Err(wrong("holds no run of `meno replicate`: there is no run.json".into()));
        };
        let mut records = Vec::new();
        for stage in Stage::ALL {
            let unfinished = || {
                let title = stage.title();
                wrong(format!(
                    "the stage “{title}” is not finished: run the same `meno replicate` command again to finish it"
                ))
            };
            records.push(StageRecord::load(&dir.join(stage.name()))?.ok_or_else(unfinished)?);
        }
        let records = StageRecords::checked(dir, records)?;
        let mut provenance: Provenance = read_json(&dir.join("report.json"))?.unwrap_or(fallback);
        provenance.command = with_program(&provenance.command);
        Ok(Report::new(&settings, seed, provenance, records))
    }

    /// Writes the [`FILES`](Report::FILES) of the report into `out`.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save(&self, out: &Path) -> Result<(), Error> {
        let [json, html, card] = Report::FILES;
        write_json(&out.join(json), &self.to_json())?;
        for (name, text) in [(html, page::page(self)), (card, page::card(self))] {
            let (path, temp) = (out.join(name), out.join(format!("{name}.tmp")));
            std::fs::write(&temp, text).map_err(Error::io(&temp))?;
            std::fs::rename(&temp, &path).map_err(Error::io(&path))?;
        }
        Ok(())
    }
}
