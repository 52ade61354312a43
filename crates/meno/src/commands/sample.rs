//! `meno sample`: rejection sampling into `traces.jsonl`, with the fields `prompt` and `completion` that
//! `meno sft` reads.

use crate::created::Created;
use crate::open;
use crate::ranks;
use crate::training::{self, RecipeArgs};
use anyhow::{Context, Result, bail};
use meno_model::input;
use meno_model::temporary::Temporary;
use meno_train::checkpoint::RunInputs;
use meno_train::data::{Question, Questions};
use meno_train::recipe::{SampleRecipe, resume};
use meno_train::rejection_sampling::{Kept, Tally, Trace};
use meno_train::rollout::RolloutConfig;
use meno_train::run_lock::RunLock;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Arguments of `meno sample`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,
}

/// Runs `meno sample`.
pub(crate) fn run(Args { recipe: args }: Args) -> Result<()> {
    let recipe: SampleRecipe = args.load()?;
    training::with_threads(recipe.run.threads, || {
        if args.dry_run {
            let (text, mut model) = (open::text_assets(&recipe.model)?, training::model(&recipe.model)?);
            return training::with_task(&recipe.task, &text, |task| {
                let precision = recipe.precision;
                let (time, _) = training::probing(|| recipe.sample.time(&mut model, precision, task))?;
                args.print_dry_run(&recipe, None, &time);
                Ok(())
            });
        }
        if !(SampleRun { args: &args, recipe: &recipe, dir: &recipe.run.output_dir }).run(args.resume)? {
            ranks::exit_stopped();
        }
        Ok(())
    })
}

/// A recipe and the output location of its traces.
pub(super) struct SampleRun<'a> {
    pub(super) args: &'a RecipeArgs,
    pub(super) recipe: &'a SampleRecipe,
    pub(super) dir: &'a Path,
}

impl SampleRun<'_> {
    /// Samples the missing questions; returns `false` if it was stopped.
    pub(super) fn run(&self, resume: bool) -> Result<bool> {
        let SampleRecipe { model, task, sample, precision, .. } = self.recipe;
        let text = open::text_assets(model)?;
        training::with_task(task, &text, |task| {
            let wanted = sample.questions(task)?;
            if wanted < sample.num_questions {
                eprintln!(
                    "note: sample.num_questions = {} asks for more questions than the task has ({wanted} from \
                     sample.first_question = {} on); each is asked once. For more answers raise sample.num_generations",
                    sample.num_questions, sample.first_question
                );
            }
            let comm = ranks::world();
            ranks::check_equal(&resume::inputs(self.recipe)?, model.path.as_deref())?;
            if comm.is_first() {
                training::check_output(self.args, self.dir, self.recipe)?;
            }
            let mut out = Output::open(self.dir, resume, self.recipe, task, comm.is_first())?;
            ranks::check_progress(out.state.questions)?;
            if out.state.questions >= wanted {
                eprintln!("all {} questions are done: {}", out.state.questions, out.path.display());
                return Ok(true);
            }
            let mut model = training::model(model)?;
            let mut view = self.args.view("meno sample");
            let mut kept = std::mem::take(&mut out.kept);
            let range = (out.state.questions..wanted, &mut kept);
            let mut keep = |done: usize, tally: &Tally, traces: Vec<Trace>| {
                let path = out.path.clone();
                out.write(done, *tally, &traces).map_err(|source| meno_train::Error::Io { path, source })
            };
            let config = RolloutConfig { comm, ..sample.rollout_config(*precision, task.stop_tokens()) };
            let done = sample.rounds(&mut model, &config, task, range, &mut view, &mut keep);
            drop(view);
            let done = done?;
            // The traces are complete for readers on all ranks.
            ranks::world().barrier();
            if done.is_none() {
                let (done, file) = (out.state.questions, out.path.display());
                eprintln!(
                    "stopped after question {done} of {wanted}; what was kept is in {file}; continue with --resume"
                );
                out.created.keep();
                return Ok(false);
            }
            summarize(&kept.tally, &out.path);
            Ok(true)
        })
    }
}

fn summarize(t: &Tally, path: &Path) {
    eprintln!(
        "kept {} of {} answers ({} not right, {} unreadable, {} duplicates, {} more than wanted): {}",
        t.kept,
        t.sampled,
        t.not_right,
        t.unreadable,
        t.duplicate,
        t.surplus,
        path.display()
    );
}

const TRACES: &str = "traces.jsonl";
const STATE: &str = "sample_state.json";

/// The progress of `traces.jsonl`. Anything after the recorded length was written by an unfinished round.
#[derive(Default, Serialize, Deserialize)]
struct State {
    /// Questions sampled.
    questions: usize,
    /// Bytes of their traces.
    bytes: u64,
    /// The tally of their answers. Absent in files of older versions.
    #[serde(default)]
    tally: Option<Tally>,
    /// The settings with which the run began. Absent in files of older versions.
    #[serde(default, rename = "begun")]
    inputs: Option<RunInputs>,
}

/// `traces.jsonl`, and the file that records its progress.
struct Output {
    /// The lock and the file; only rank 0 writes.
    writer: Option<(RunLock, std::fs::File)>,
    path: PathBuf,
    state_path: PathBuf,
    state: State,
    kept: Kept,
    created: Created,
}

impl Output {
    /// Opens the traces of an earlier run, or starts new ones. Without `writes`, it only reads.
    fn open(dir: &Path, resume: bool, recipe: &SampleRecipe, task: &dyn Questions, writes: bool) -> Result<Output> {
        let (path, state_path) = (dir.join(TRACES), dir.join(STATE));
        let inputs = resume::inputs(recipe)?;
        let mut created = Created::default();
        if writes {
            created.dir(dir)?;
        }
        let lock = writes.then(|| RunLock::acquire(dir)).transpose()?;
        let mut state = State::default();
        let mut kept = Kept::default();
        if state_path.exists() {
            let text = input::read_text(&state_path, input::SMALL).with_context(|| state_path.display().to_string())?;
            if !resume {
                bail!(
                    "{} holds traces: continue with --resume, or name another directory with --out (run.output_dir)",
                    dir.display()
                );
            }
            state = serde_json::from_str(&text).with_context(|| state_path.display().to_string())?;
            let instead = "its traces are kept";
            training::check_resume::<SampleRecipe>(&state_path, state.inputs.as_ref(), &inputs, instead)?;
            kept = earlier(&path, &state, task)?;
        }
        state.inputs = Some(inputs);
        if writes {
            created.file(&path);
        }
        let open = || -> std::io::Result<std::fs::File> {
            let mut file = OpenOptions::new().create(true).write(true).truncate(false).open(&path)?;
            file.set_len(state.bytes)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        let writer = lock.map(|lock| Ok((lock, open()?)) as std::io::Result<_>).transpose();
        let writer = writer.with_context(|| path.display().to_string())?;
        Ok(Output { writer, path, state_path, state, kept, created })
    }

    fn write(&mut self, done: usize, tally: Tally, traces: &[Trace]) -> std::io::Result<()> {
        self.state.questions = done;
        let Some((_, file)) = &mut self.writer else { return Ok(()) };
        for t in traces {
            let q = &t.question;
            let line = json!({
                "prompt": q.prompt_text, "completion": t.text, "question": q.text, "answer": q.answer,
                "language": q.language, "index": q.index,
            });
            writeln!(file, "{line}")?;
        }
        file.sync_all()?;
        self.state.bytes = file.metadata()?.len();
        self.state.tally = Some(tally);
        let temp = Temporary::at(self.state_path.with_extension("tmp"));
        std::fs::write(temp.path(), serde_json::to_vec(&self.state)?)?;
        temp.persist(&self.state_path)?;
        self.created.keep();
        Ok(())
    }
}

/// Reads back what an earlier run kept, from its traces.
fn earlier(path: &Path, state: &State, task: &dyn Questions) -> Result<Kept> {
    let file = input::open(path).with_context(|| path.display().to_string())?;
    let (mut kept, mut bytes) = (Kept::default(), 0);
    for (i, line) in BufReader::new(file.take(state.bytes)).lines().enumerate() {
        let line = line.with_context(|| path.display().to_string())?;
        bytes += line.len() as u64 + 1;
        let value: Value = serde_json::from_str(&line).with_context(|| format!("{}:{}", path.display(), i + 1))?;
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let question = Question { text: text("question"), ..Question::default() };
        kept.restore(task.identity(&question, &text("completion"), &[]));
        kept.tally.kept += 1;
    }
    if bytes != state.bytes {
        let found = format!("{} is shorter than {STATE} says: {bytes} bytes of {}", path.display(), state.bytes);
        bail!("{found}. Restore it, or name another directory with --out (run.output_dir)");
    }
    kept.tally = state.tally.unwrap_or(kept.tally);
    Ok(kept)
}
