//! The file of an evaluation: the first line holds the settings, each further line one judged problem.

use crate::output::{self, Inputs};
use crate::ranks;
use anyhow::{Context, Result, bail};
use meno_eval::score::JudgedProblem;
use meno_train::recipe::EvalRecipe;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;

/// Problems that are already judged, and the file to which more are written.
#[derive(Default)]
pub(super) struct Output {
    pub(super) judged: Vec<JudgedProblem>,
    file: Option<File>,
}

impl Output {
    /// Opens the output file of `recipe`, if it has one. With `resume`, an existing file is continued.
    pub(super) fn open(recipe: &EvalRecipe, file: Option<&Path>, resume: bool, force: bool) -> Result<Output> {
        let Some(path) = &recipe.eval.out else { return Ok(Output::default()) };
        let name = || path.display().to_string();
        if path.is_file() && !resume && !force {
            bail!(
                "{}: already exists; continue with --resume, overwrite it with --force, or choose another --out",
                name()
            );
        }
        let read_files = [file, recipe.model.path.as_deref(), Some(Path::new(&recipe.task.name))];
        let inputs = read_files.into_iter().flatten().fold(Inputs::default(), Inputs::with);
        let path = &output::file("--out", path, resume || force, &inputs)?;
        let header = header(recipe)?;
        let (judged, whole) = if path.exists() && resume { read(path, &header)? } else { (Vec::new(), 0) };
        // Rank 0 writes the file, after all ranks have read it.
        let comm = ranks::world();
        comm.barrier();
        if !comm.is_first() {
            return Ok(Output { judged, file: None });
        }
        // Remove a line that a kill cut short; it is written again.
        let mut file = File::options().create(true).write(true).truncate(false).open(path).with_context(name)?;
        file.set_len(whole).with_context(name)?;
        file.seek(SeekFrom::End(0)).with_context(name)?;
        if whole == 0 {
            writeln!(file, "{header}").with_context(name)?;
        }
        Ok(Output { judged, file: Some(file) })
    }

    pub(super) fn add(&mut self, judged: JudgedProblem) -> Result<()> {
        if let Some(file) = &mut self.file {
            let line = serde_json::to_string(&judged)? + "\n";
            file.write_all(line.as_bytes()).context("writing the file of --out")?;
        }
        self.judged.push(judged);
        Ok(())
    }
}

/// The settings that determine the responses: the recipe without the output path, the number of problems, and the
/// settings that only affect how they are computed (threads, concurrent sequences).
fn header(recipe: &EvalRecipe) -> Result<Value> {
    let mut value = serde_json::to_value(recipe)?;
    if let Some(eval) = value["eval"].as_object_mut() {
        for key in ["out", "threads", "num_problems", "max_sequences"] {
            eval.remove(key);
        }
    }
    Ok(value)
}

/// The judged problems of a file and the bytes of its whole lines.
fn read(path: &Path, header: &Value) -> Result<(Vec<JudgedProblem>, u64)> {
    let name = || path.display().to_string();
    let mut reader = BufReader::new(File::open(path).with_context(name)?);
    let (mut judged, mut whole, mut line) = (Vec::new(), 0u64, String::new());
    while reader.read_line(&mut line).with_context(name)? > 0 && line.ends_with('\n') {
        if whole == 0 {
            let before: Value = serde_json::from_str(&line)
                .with_context(|| format!("{}: is not a file of `meno eval`; choose another --out", name()))?;
            if before != *header {
                bail!("{}: holds another evaluation ({before}); choose another --out", name());
            }
        } else {
            judged.push(serde_json::from_str(&line).with_context(|| format!("{}:{}", name(), judged.len() + 2))?);
        }
        whole += line.len() as u64;
        line.clear();
    }
    Ok((judged, whole))
}
