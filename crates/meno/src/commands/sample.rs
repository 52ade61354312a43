//! `meno sample`: rejection sampling into `traces.jsonl`, with `prompt` and `completion` as `meno sft` reads them.

use crate::training::{self, RecipeArgs, Text};
use anyhow::{Context, Result, bail};
use meno_train::RejectionSampling;
use meno_train::recipe::{ModelSection, SampleRecipe, TaskSection};
use meno_train::rejection_sampling::Trace;
use meno_train::trainer::Dtype;
use serde_json::json;
use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

/// Arguments of `meno sample`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,
}

/// Runs `meno sample`.
pub fn run(Args { recipe: args }: Args) -> Result<()> {
    let recipe: SampleRecipe = args.load()?;
    if args.dry_run {
        args.print_dry_run(&recipe, None);
        return Ok(());
    }
    training::with_threads(recipe.run.threads, || {
        let run = SampleRun {
            args: &args,
            model: &recipe.model,
            task: &recipe.task,
            precision: recipe.precision,
            sample: &recipe.sample,
            dir: &recipe.run.output_dir,
        };
        if !run.run(args.resume)? {
            std::process::exit(130);
        }
        Ok(())
    })
}

/// A model, what it is asked, and where the traces go.
pub(super) struct SampleRun<'a> {
    pub(super) args: &'a RecipeArgs,
    pub(super) model: &'a ModelSection,
    pub(super) task: &'a TaskSection,
    pub(super) precision: Dtype,
    pub(super) sample: &'a RejectionSampling,
    pub(super) dir: &'a Path,
}

impl SampleRun<'_> {
    /// Samples what is still missing; `false` if it was stopped.
    pub(super) fn run(&self, resume: bool) -> Result<bool> {
        let dir = self.dir;
        std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        let mut out = Output::open(dir, resume)?;
        if out.done >= self.sample.num_questions {
            eprintln!("all {} questions are done: {}", out.done, dir.join(TRACES).display());
            return Ok(true);
        }
        let mut model = training::model(self.model)?;
        let text = Text::of(self.model)?;
        let mut view = self.args.view("meno sample");
        let range = out.done..self.sample.num_questions;
        let result = training::with_task(self.task, &text, |task| {
            let mut keep = |done: usize, traces: Vec<Trace>| {
                out.write(done, &traces).map_err(|source| meno_train::Error::Io { path: dir.join(TRACES), source })
            };
            Ok(self.sample.rounds(&mut model, self.precision.into(), task, range, &mut view, &mut keep)?)
        });
        drop(view);
        let Some(t) = result? else {
            eprintln!("stopped after question {}; go on with --resume", out.done);
            return Ok(false);
        };
        eprintln!(
            "kept {} of {} answers ({} not right, {} unreadable, {} the same, {} more than wanted): {}",
            t.kept,
            t.sampled,
            t.not_right,
            t.unreadable,
            t.duplicate,
            t.surplus,
            dir.join(TRACES).display()
        );
        Ok(true)
    }
}

const TRACES: &str = "traces.jsonl";
const PROGRESS: &str = "sample_state.json";

/// `traces.jsonl` and how far it is: what follows the noted length was written by a round that did not end.
struct Output {
    file: std::fs::File,
    progress: std::path::PathBuf,
    done: usize,
}

impl Output {
    fn open(dir: &Path, resume: bool) -> Result<Output> {
        let (path, progress) = (dir.join(TRACES), dir.join(PROGRESS));
        let (mut done, mut len) = (0, 0);
        if let Ok(text) = std::fs::read_to_string(&progress) {
            if !resume {
                bail!("{} holds traces: go on with --resume, or choose another run.output_dir", dir.display());
            }
            let state: serde_json::Value =
                serde_json::from_str(&text).with_context(|| progress.display().to_string())?;
            done = state["questions"].as_u64().unwrap_or(0) as usize;
            len = state["bytes"].as_u64().unwrap_or(0);
        }
        let open = || -> std::io::Result<std::fs::File> {
            let mut file = OpenOptions::new().create(true).write(true).truncate(false).open(&path)?;
            file.set_len(len)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        let file = open().with_context(|| path.display().to_string())?;
        Ok(Output { file, progress, done })
    }

    fn write(&mut self, done: usize, traces: &[Trace]) -> std::io::Result<()> {
        for t in traces {
            let q = &t.question;
            let line = json!({
                "prompt": q.prompt_text, "completion": t.text, "question": q.text, "answer": q.answer,
                "language": q.language, "index": q.index,
            });
            writeln!(self.file, "{line}")?;
        }
        self.file.sync_all()?;
        let state = json!({ "questions": done, "bytes": self.file.metadata()?.len() });
        let temp = self.progress.with_extension("tmp");
        std::fs::write(&temp, state.to_string())?;
        std::fs::rename(&temp, &self.progress)?;
        self.done = done;
        Ok(())
    }
}
