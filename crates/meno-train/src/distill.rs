//! Distillation (R1 §2.4): supervised fine-tuning of a student on the teacher's verified traces.

use crate::data::{Example, Questions};
use crate::error::Error;
use crate::rejection_sampling::{RejectionSampling, Tally, Trace};
use crate::run::{Run, Summary};
use crate::sft::{self, Sft};
use crate::train::Train;
use meno_engine::Tokenizer;
use meno_eval::records::Layout;
use meno_model::Model;
use std::path::{Path, PathBuf};

/// Distillation from a local teacher to a student.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distill {
    /// Settings for sampling the teacher.
    pub sample: RejectionSampling,
    /// Settings for training the student.
    pub sft: Sft,
}

impl Distill {
    /// Samples `teacher` and trains `student` on the kept traces. The student must share the teacher's tokenizer;
    /// otherwise pass `student_tokenizer`, which encodes the traces again. `None` if the observer stopped it.
    pub fn run(
        &self,
        train: &Train,
        teacher: &mut Model,
        student: &mut Model,
        student_tokenizer: Option<&Tokenizer>,
        task: &dyn Questions,
        run: &mut Run,
    ) -> Result<Option<(Summary, Tally)>, Error> {
        let sampled = self.sample.run(teacher, train.precision, task, run.observer)?;
        let Some((traces, tally)) = sampled else { return Ok(None) };
        let examples = examples(&traces, student_tokenizer)?;
        Ok(Some((self.sft.run(train, student, &examples, run)?, tally)))
    }
}

/// Converts traces to examples; with a tokenizer, prompt and answer are encoded again.
pub fn examples(traces: &[Trace], tokenizer: Option<&Tokenizer>) -> Result<Vec<Example>, Error> {
    let example = |t: &Trace| match tokenizer {
        None => Ok(t.example()),
        Some(tokenizer) => sft::example(tokenizer, &t.question.prompt_text, &t.text, true),
    };
    traces.iter().map(example).collect()
}

/// Returns the data files of a directory (JSON Lines, CSV, TSV, Parquet), sorted by name, or the file itself.
pub fn trace_files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(Error::io(path))?;
    // `.json` files are excluded: they describe a run, such as `sample_state.json`.
    let is_data = |p: &PathBuf| !matches!(Layout::of(p), Layout::Text | Layout::Json);
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(is_data).collect();
    files.sort();
    if files.is_empty() {
        return Err(Error::Empty(format!("{} has no .jsonl, .csv, .tsv or .parquet files", path.display())));
    }
    Ok(files)
}
