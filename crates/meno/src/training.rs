//! Shared by the training commands: reading a recipe, loading a model, the directory of a run, Ctrl-C.

pub(crate) use crate::arguments::with_threads;
use crate::arguments::{DEVICES, thread_count};
use crate::created::Created;
use crate::interrupt;
use crate::live::LiveView;
use crate::open;
use crate::output::{self, Inputs};
use crate::progress::{Unit, Work};
use crate::ranks;
use anyhow::{Context, Result, bail};
use meno_engine::TextAssets;
use meno_eval::Split;
use meno_model::expert_parallel::ExpertRank;
use meno_model::{Config, LoadOptions, Model};
use meno_tensor::device::Device;
use meno_tensor::precision::Precision;
use meno_train::checkpoint::{Checkpoints, RunInputs};
use meno_train::data::{Example, TaskQuestions};
use meno_train::evaluation::{Evaluate, Evaluation};
use meno_train::memory::Estimate;
use meno_train::recipe::{self, ModelSection, Recipe, RunSection, TaskSection, resume};
use meno_train::run_lock::{self, RunLock};
use meno_train::time::Time;
use meno_train::{Run, Summary, Train, tensorboard};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Arguments of every training verb.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct RecipeArgs {
    /// The recipe, a TOML file
    pub recipe: PathBuf,
    /// Model to start from: a Hugging Face directory, a GGUF file, or a hub name, ORG/NAME or ORG/NAME:QUANT
    /// (model.path of the recipe)
    #[arg(short, long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Directory of the results (run.output_dir of the recipe)
    #[arg(short, long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    #[arg(long, value_name = "NAME", help = format!("{DEVICES} (model.device of the recipe)"))]
    pub device: Option<Device>,
    /// How the gradients of several processes are added: ordered (the bits of one process) or fast (train.reduce of the
    /// recipe)
    #[arg(long, value_name = "HOW", value_parser = ["ordered", "fast"])]
    pub reduce: Option<String>,
    /// Threads; 0 uses all cores (run.threads of the recipe)
    #[arg(long, value_name = "N", value_parser = thread_count)]
    pub threads: Option<usize>,
    /// Change a value of the recipe, e.g. --set train.learning_rate=1e-5 (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Print the resolved recipe, and the memory and the time that the run needs, then exit
    #[arg(long)]
    pub dry_run: bool,
    /// Continue from the newest checkpoint of the output directory
    #[arg(long)]
    pub resume: bool,
    /// Print plain lines instead of the live view
    #[arg(long)]
    pub plain: bool,
}

impl RecipeArgs {
    /// Loads the recipe and applies the changes.
    pub(crate) fn load<R: Recipe>(&self) -> Result<R> {
        let text = |key: &str, path: &PathBuf| format!("{key}={:?}", path.display().to_string());
        let model = self.model.iter().map(|path| text("model.path", path));
        let out = self.out.iter().map(|path| text("run.output_dir", path));
        let threads = self.threads.iter().map(|n| format!("run.threads={n}"));
        let device = self.device.iter().map(|device| format!("model.device=\"{device}\""));
        let reduce = self.reduce.iter().map(|how| format!("train.reduce={how:?}"));
        let flags = model.chain(out).chain(device).chain(reduce).chain(threads);
        let sets: Vec<String> = flags.chain(self.set.iter().cloned()).collect();
        let recipe = recipe::load(&self.recipe, &sets)?;
        for note in recipe::notes(&recipe) {
            eprintln!("note: {note}");
        }
        Ok(recipe)
    }

    /// Prints the output of `--dry-run`.
    pub(crate) fn print_dry_run<R: Serialize>(&self, recipe: &R, estimate: Option<&Estimate>, time: &Time) {
        println!("{}", recipe::resolved(recipe));
        if let Some(estimate) = estimate {
            println!("{}", commented(estimate));
        }
        println!("{}", commented_time(time));
    }

    /// The view of a run. The first Ctrl-C (or SIGTERM) asks the run to save and stop; the second ends the
    /// process immediately.
    pub(crate) fn view(&self, title: &str) -> LiveView {
        let view = if self.plain { LiveView::plain(title, &[title]) } else { LiveView::new(title, &[title]) };
        interrupt::ask(view.stop.clone());
        view
    }

    /// The command that continues a run after a stop.
    fn resume_command(&self, verb: &str) -> String {
        let path = |path: &PathBuf| quoted(&path.display().to_string());
        let model: String = self.model.iter().map(|model| format!(" -m {}", path(model))).collect();
        let out: String = self.out.iter().map(|out| format!(" -o {}", path(out))).collect();
        let threads: String = self.threads.iter().map(|n| format!(" --threads {n}")).collect();
        let device: String = self.device.iter().map(|device| format!(" --device {device}")).collect();
        let reduce: String = self.reduce.iter().map(|how| format!(" --reduce {how}")).collect();
        let sets: String = self.set.iter().map(|set| format!(" --set {}", quoted(set))).collect();
        let recipe = path(&self.recipe);
        let ranks = match ranks::world().size() {
            1 => String::new(),
            size => format!("mpirun -n {size} "),
        };
        format!("{ranks}meno {verb} {recipe}{model}{out}{device}{reduce}{threads}{sets} --resume")
    }
}

/// Quotes a word for a shell, if it needs quotes.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./=:@%+,-".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Formats a memory estimate as a TOML comment.
pub(crate) fn commented(estimate: &Estimate) -> String {
    format!("# Memory\n# {}", estimate.to_string().replace('\n', "\n# "))
}

/// Formats a time estimate as a TOML comment.
pub(crate) fn commented_time(time: &Time) -> String {
    format!("# Time\n# {}", time.to_string().replace('\n', "\n# "))
}

/// Runs the probe of a dry run, which takes a few seconds.
pub(crate) fn probing<R>(f: impl FnOnce() -> R) -> R {
    let _work = Work::new("measuring the model on this machine", Unit::Count);
    f()
}

/// Loads or builds the recipe's model.
pub(crate) fn model(section: &ModelSection) -> Result<Model> {
    model_with(section, None)
}

/// Like [`model`], to train: if the experts are dealt out to the processes, with those of this one.
pub(crate) fn model_to_train(section: &ModelSection, train: &Train) -> Result<Model> {
    let comm = ranks::world();
    let own = ExpertRank { rank: comm.rank(), ranks: comm.size() };
    model_with(section, (train.expert_parallel && comm.size() > 1).then_some(own))
}

fn model_with(section: &ModelSection, experts: Option<ExpertRank>) -> Result<Model> {
    let device = ranks::device(section.device);
    match (&section.path, &section.config) {
        (Some(path), None) => {
            let path = open::model(path)?;
            let work = Work::loading(&path);
            let options = LoadOptions { device, experts, ..LoadOptions::default() };
            Ok(Model::load_with(&path, options, &mut |read, of| work.set(read as u64, of as u64))?)
        }
        (None, Some(config)) => Ok(Model::random_with(device, Config::load(config)?, section.init_seed, experts)?),
        (None, None) => bail!("[model] needs `path` (weights to start from) or `config` (random weights)"),
        (Some(_), Some(_)) => bail!("[model] has both `path` and `config`: weights are loaded or random, not both"),
    }
}

/// Opens a recipe's task and passes it to `f` in the form that the model sees.
pub(crate) fn with_task<R>(
    section: &TaskSection,
    text: &TextAssets,
    f: impl FnOnce(&TaskQuestions) -> Result<R>,
) -> Result<R> {
    with_split(section, Split::Train, text, f)
}

/// Like [`with_task`], with the questions of `split`.
fn with_split<R>(
    section: &TaskSection,
    split: Split,
    text: &TextAssets,
    f: impl FnOnce(&TaskQuestions) -> Result<R>,
) -> Result<R> {
    let task = section.open()?;
    let prompt = |problem: &meno_eval::Problem| section.render(problem, text.template.as_ref());
    f(&TaskQuestions {
        task: task.as_ref(),
        split,
        tokenizer: &text.tokenizer,
        add_special: section.prompt.add_special(),
        prompt: &prompt,
        seed: section.seed,
    })
}

/// Opens the held-out data of a recipe, if any, and passes it to `f`: the questions of `eval.eval_task` and
/// the `examples` of `eval.eval_files`. If both are absent, the questions of another split of `section` are
/// used. Answers have at most `max_completion_length` tokens.
pub(crate) fn with_evaluation<R>(
    section: &TaskSection,
    settings: &Evaluate,
    text: &TextAssets,
    (max_completion_length, precision): (usize, Precision),
    examples: &[Example],
    f: impl FnOnce(Option<Evaluation>) -> Result<R>,
) -> Result<R> {
    if settings.eval_steps == 0 {
        return f(None);
    }
    let evaluation = Evaluation::new(settings, examples)?;
    let name = match &settings.eval_task {
        Some(name) => name.clone(),
        None if examples.is_empty() => section.name.clone(),
        None => return f(Some(evaluation)),
    };
    let section = TaskSection { name, ..section.clone() };
    with_split(&section, settings.split, text, |asked| {
        f(Some(evaluation.asking(asked, max_completion_length, precision)?))
    })
}

/// Rejects an output directory that is the model or holds the recipe, and one with files that no run wrote.
pub(crate) fn check_output<R: Recipe>(args: &RecipeArgs, dir: &Path, recipe: &R) -> Result<()> {
    let mut inputs = Inputs::default();
    if let Some(path) = &recipe.model().path {
        inputs = inputs.with(path);
    }
    // A run may be resumed with the recipe in its own directory.
    if !args.resume {
        inputs = inputs.with(&args.recipe);
    }
    output::run_directory(dir, &inputs)
}

/// The location of a run's checkpoints. Writes nothing; rejects a run that cannot start or continue.
pub(crate) fn checkpoints<R: Recipe>(
    args: &RecipeArgs,
    run: &RunSection,
    recipe: &R,
    assets: Vec<(String, Vec<u8>)>,
) -> Result<Checkpoints> {
    let (comm, inputs) = (ranks::world(), resume::inputs(recipe)?);
    ranks::check_equal(&inputs, recipe.model().path.as_deref())?;
    let mut lock = None;
    if comm.is_first() {
        check_output(args, &run.output_dir, recipe)?;
        // A directory that does not exist yet is locked when it is created.
        lock = run.output_dir.is_dir().then(|| RunLock::acquire(&run.output_dir)).transpose()?.map(Arc::new);
    }
    let mut checkpoints = Checkpoints {
        dir: run.output_dir.clone(),
        save_steps: run.save_steps,
        save_total_limit: run.save_total_limit,
        dtype: run.save_dtype.into(),
        resume: args.resume,
        assets,
        inputs: Some(inputs.clone()),
        found: None,
        lock,
        comm,
    };
    if let Some((step, _)) = checkpoints.latest().filter(|_| !args.resume) {
        let dir = run.output_dir.display();
        bail!(
            "{dir} holds a run at step {step}: continue it with --resume, or name another directory with --out \
             (run.output_dir)"
        );
    }
    if let Some(found) = checkpoints.newest_whole_of_all()? {
        found.notes.iter().for_each(|note| eprintln!("note: {note}"));
        let path = &found.path;
        let instead = format!("for a new run from its weights, set model.path = {:?}", path.display().to_string());
        check_resume::<R>(path, found.state.inputs.as_ref(), &inputs, &instead)?;
        checkpoints.found = Some(found);
    }
    Ok(checkpoints)
}

/// Rejects resuming a run with other settings or other data.
pub(crate) fn check_resume<R: Recipe>(
    path: &Path,
    saved: Option<&RunInputs>,
    now: &RunInputs,
    instead: &str,
) -> Result<()> {
    let Some(saved) = saved else {
        eprintln!(
            "note: {} does not record the settings and data of its run, so they are not compared",
            path.display()
        );
        return Ok(());
    };
    let differences = resume::differences::<R>(saved, now);
    if differences.is_empty() {
        return Ok(());
    }
    bail!(
        "{}: --resume continues with the same settings and data, but these differ: {}. Set them back, or choose \
         another run.output_dir; {instead}",
        path.display(),
        differences.join("; ")
    )
}

/// Runs `f` with setup and cleanup, and reports how it ended. A run that fails before its first checkpoint
/// leaves nothing behind.
pub(crate) fn run<R: Serialize>(
    args: &RecipeArgs,
    verb: &str,
    recipe: &R,
    checkpoints: Checkpoints,
    f: impl FnOnce(&mut Run) -> Result<Summary>,
) -> Result<()> {
    run_evaluated(args, verb, recipe, checkpoints, None, f)
}

/// Like [`run`], with held-out questions.
pub(crate) fn run_evaluated<R: Serialize>(
    args: &RecipeArgs,
    verb: &str,
    recipe: &R,
    mut checkpoints: Checkpoints,
    evaluation: Option<Evaluation>,
    f: impl FnOnce(&mut Run) -> Result<Summary>,
) -> Result<()> {
    let (file, metrics) = (checkpoints.dir.join("recipe.toml"), checkpoints.dir.join("metrics.jsonl"));
    let (comm, mut created) = (checkpoints.comm.clone(), Created::default());
    let mut events = Vec::new();
    if comm.is_first() {
        created.dir(&checkpoints.dir)?;
        if checkpoints.lock.is_none() {
            created.file(&checkpoints.dir.join(run_lock::FILE));
            checkpoints.lock = Some(Arc::new(RunLock::acquire(&checkpoints.dir)?));
        }
        created.file(&file);
        std::fs::write(&file, recipe::resolved(recipe)).with_context(|| file.display().to_string())?;
        created.file(&metrics);
        events = tensorboard::files(&checkpoints.dir)?;
    }
    comm.barrier();
    if !file.is_file() {
        let (rank, file) = (comm.rank(), file.display());
        bail!(
            "rank {rank} does not see {file}, which rank 0 wrote: all processes must share the file system of \
               run.output_dir"
        );
    }
    let mut view = args.view(&format!("meno {verb}"));
    if let Some(found) = &checkpoints.found {
        view.note(&format!("resuming from step {}: {}", found.state.step, found.path.display()));
    }
    let mut run = Run {
        checkpoints: Some(checkpoints.clone()),
        metrics: Some(metrics),
        evaluation,
        comm: comm.clone(),
        ..Run::new(&mut view)
    };
    let result = f(&mut run);
    drop(run);
    if result.is_ok() {
        view.finish("");
    }
    drop(view);
    if result.is_ok() || checkpoints.latest().is_some() {
        created.keep();
    } else if comm.is_first() {
        let new = tensorboard::files(&checkpoints.dir)?.into_iter().filter(|file| !events.contains(file));
        new.for_each(|(file, _)| created.made(file));
    }
    let summary = result?;
    if summary.stopped {
        match checkpoints.latest() {
            Some((saved, path)) => eprintln!(
                "stopped after step {}; step {saved} is saved in {}.\ncontinue with: {}",
                summary.steps,
                path.display(),
                args.resume_command(verb)
            ),
            None => eprintln!("stopped before the first step was done; there is nothing to save"),
        }
        drop(checkpoints);
        ranks::exit_stopped();
    }
    eprintln!("done: {} steps, the model is in {}", summary.steps, checkpoints.dir.display());
    Ok(())
}
