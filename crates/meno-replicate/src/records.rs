//! The records of all stages of a finished run, and comparisons between them.

use crate::measure::Measures;
use crate::record::StageRecord;
use crate::stage::Stage;
use meno_eval::Interval;
use meno_train::Error;
use std::path::Path;

/// The records of all stages of a finished run.
#[derive(Clone, Debug)]
pub struct StageRecords(Vec<StageRecord>);

impl StageRecords {
    /// The records, in the order of [`Stage::ALL`].
    pub fn new(records: Vec<StageRecord>) -> StageRecords {
        StageRecords(records)
    }

    /// The records of the run in `dir`.
    ///
    /// # Errors
    /// If the records do not belong together: files can be damaged or mixed up.
    pub(crate) fn checked(dir: &Path, records: Vec<StageRecord>) -> Result<StageRecords, Error> {
        let problems = records.iter().find_map(|r| r.measures.as_ref()).map_or(0, |m| m.per_problem.pass1.len());
        for (stage, record) in Stage::ALL.into_iter().zip(&records) {
            let wrong = |what: String| {
                let path = dir.join(stage.name()).join("stage.json");
                Error::Checkpoint { path, message: format!("{what}; remove it to run its stage again") }
            };
            if record.name != stage.name() {
                return Err(wrong(format!("is the record of the stage `{}`", record.name)));
            }
            let is_complete =
                |m: &Measures| m.per_problem.pass1.len() == problems && m.per_problem.length.len() == problems;
            match &record.measures {
                None if stage != Stage::Tokenizer => return Err(wrong("has no measurements".into())),
                Some(m) if !is_complete(m) => {
                    let (a, b) = (m.per_problem.pass1.len(), m.per_problem.length.len());
                    return Err(wrong(format!(
                        "has pass@1 of {a} problems and lengths of {b}, other stages have {problems}"
                    )));
                }
                _ => {}
            }
        }
        Ok(StageRecords(records))
    }

    /// The records in order.
    pub fn iter(&self) -> std::slice::Iter<'_, StageRecord> {
        self.0.iter()
    }

    /// The record of a stage.
    ///
    /// # Panics
    /// If there is none. A finished run has all of them.
    pub fn stage(&self, stage: Stage) -> &StageRecord {
        self.iter().find(|r| r.name == stage.name()).expect("invariant: every stage has its record")
    }

    /// The measurements of a stage's model.
    ///
    /// # Panics
    /// If there are none: for the tokenizer.
    pub fn measures(&self, stage: Stage) -> &Measures {
        self.stage(stage).measures.as_ref().expect("invariant: every stage but the tokenizer measures its model")
    }

    /// The mean response length of stage `a` divided by that of stage `b`.
    pub fn length_ratio(&self, a: Stage, b: Stage) -> Interval {
        Interval::of_ratio(&self.measures(a).per_problem.length, &self.measures(b).per_problem.length)
    }

    /// pass@1 of stage `a` minus that of stage `b`, paired by problem.
    pub fn gain(&self, a: Stage, b: Stage) -> Interval {
        Interval::of_difference(&self.measures(a).per_problem.pass1, &self.measures(b).per_problem.pass1)
    }
}

impl<'a> IntoIterator for &'a StageRecords {
    type Item = &'a StageRecord;
    type IntoIter = std::slice::Iter<'a, StageRecord>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
