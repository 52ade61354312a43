//! What the training verbs share: reading a recipe, loading a model with its text, the directory of a run, Ctrl-C.

use crate::created::Created;
use crate::hub;
use crate::live::View;
use crate::progress::{Unit, Work};
use anyhow::{Context, Result, bail};
use meno_engine::{ChatTemplate, GenerationConfig, Tokenizer, generation_config};
use meno_eval::Split;
use meno_model::{Config, Model, input};
use meno_train::checkpoint::{Begun, Checkpoints};
use meno_train::data::{Asked, Example};
use meno_train::evaluation::{Evaluate, Evaluation};
use meno_train::memory::Estimate;
use meno_train::recipe::{self, ModelSection, Recipe, RunSection, TaskSection, resume};
use meno_train::run_lock::{self, RunLock};
use meno_train::time::Time;
use meno_train::trainer::Dtype;
use meno_train::{Run, Summary};
use serde::Serialize;
use signal_hook::consts::SIGINT;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Arguments of every training verb.
#[derive(clap::Args, Clone, Debug)]
pub struct RecipeArgs {
    /// The recipe, a TOML file
    pub recipe: PathBuf,
    /// The model to start from: a Hugging Face directory, a GGUF file, or ORG/NAME:QUANT of the hub (model.path)
    #[arg(short, long, value_name = "PATH")]
    pub model: Option<PathBuf>,
    /// Change a value of the recipe, e.g. --set train.learning_rate=1e-5
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Print the resolved recipe, the memory and the time that the run will take, and stop
    #[arg(long)]
    pub dry_run: bool,
    /// Go on from the newest checkpoint of run.output_dir
    #[arg(long)]
    pub resume: bool,
    /// Plain lines instead of the live view
    #[arg(long)]
    pub plain: bool,
}

impl RecipeArgs {
    /// The recipe with its changes.
    pub fn load<R: Recipe>(&self) -> Result<R> {
        let model = self.model.iter().map(|path| format!("model.path={:?}", path.display().to_string()));
        let sets: Vec<String> = model.chain(self.set.iter().cloned()).collect();
        let recipe = recipe::load(&self.recipe, &sets)?;
        for note in recipe::notes(&recipe) {
            eprintln!("note: {note}");
        }
        Ok(recipe)
    }

    /// Prints what `--dry-run` promises.
    pub fn print_dry_run<R: Serialize>(&self, recipe: &R, estimate: Option<&Estimate>, time: &Time) {
        println!("{}", recipe::resolved(recipe));
        if let Some(estimate) = estimate {
            println!("{}", commented(estimate));
        }
        println!("{}", commented_time(time));
    }

    /// The view of a run and its Ctrl-C.
    pub fn view(&self, title: &str) -> View {
        let view = if self.plain { View::plain(title, &[title]) } else { View::new(title, &[title]) };
        on_ctrl_c(view.stop.clone());
        view
    }

    /// How to go on after a stop.
    fn resume_command(&self, verb: &str) -> String {
        let model: String = self.model.iter().map(|path| format!(" -m {}", path.display())).collect();
        let sets: String = self.set.iter().map(|s| format!(" --set '{s}'")).collect();
        format!("meno {verb} {}{model}{sets} --resume", self.recipe.display())
    }
}

/// An estimate of memory as a comment of TOML.
pub fn commented(estimate: &Estimate) -> String {
    format!("# Memory\n# {}", estimate.to_string().replace('\n', "\n# "))
}

/// A time as a comment of TOML.
pub fn commented_time(time: &Time) -> String {
    format!("# Time\n# {}", time.to_string().replace('\n', "\n# "))
}

/// The probe of a dry run, which takes some seconds.
pub fn probing<R>(f: impl FnOnce() -> R) -> R {
    let _work = Work::new("measuring the model on this machine", Unit::Count);
    f()
}

/// The first Ctrl-C asks the run to stop; the second ends the process at once (checkpoints are whole either way).
pub fn on_ctrl_c(stop: Arc<AtomicBool>) {
    // The order matters: the first Ctrl-C finds the flag unset. Only a forbidden signal could be refused.
    let _ = signal_hook::flag::register_conditional_shutdown(SIGINT, 130, stop.clone());
    let _ = signal_hook::flag::register(SIGINT, stop);
}

/// A model's tokenizer and template, and where they came from.
pub struct Text {
    /// Text to tokens and back.
    pub tokenizer: Tokenizer,
    /// The chat template, if it has one.
    pub template: Option<ChatTemplate>,
    /// The files to put beside every checkpoint.
    pub assets: Vec<(String, Vec<u8>)>,
}

/// Most bytes of a file that goes with a model.
const MAX_ASSET: u64 = 128 << 20;

/// Files of a Hugging Face directory that go with a trained model.
const ASSETS: [&str; 8] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
    "tokenizer.model",
    "meno.json",
];

impl Text {
    /// Reads the text side of a Hugging Face directory or a GGUF file.
    pub fn load(path: &Path) -> Result<Text> {
        if path.is_file() {
            return Text::from_gguf(path);
        }
        let tokenizer = Tokenizer::load(path)?;
        let template = ChatTemplate::load(path, tokenizer.special())?;
        let mut assets = Vec::new();
        for name in ASSETS {
            let file = path.join(name);
            match input::read(&file, MAX_ASSET) {
                Ok(bytes) => assets.push((name.to_owned(), bytes)),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(e).with_context(|| file.display().to_string()),
            }
        }
        if !assets.iter().any(|(name, _)| name == generation_config::FILE) {
            assets.push(generation_asset(&GenerationConfig::default(), &tokenizer));
        }
        Ok(Text { tokenizer, template, assets })
    }

    fn from_gguf(path: &Path) -> Result<Text> {
        let file = meno_model::gguf::Gguf::open(path)?;
        let tokenizer = Tokenizer::from_gguf(&file)?;
        let source = meno_engine::tokenizer::gguf::chat_template(&file)?;
        let template = source.map(|s| ChatTemplate::new(s, tokenizer.special())).transpose()?;
        let files = tokenizer.files(source)?.map(|(name, text)| (name.to_owned(), text.into_bytes()));
        let generation = generation_asset(&GenerationConfig::load(path)?, &tokenizer);
        let assets = files.into_iter().chain([generation]).collect();
        Ok(Text { tokenizer, template, assets })
    }

    /// The text side of a recipe's model.
    pub fn of(section: &ModelSection) -> Result<Text> {
        match section.tokenizer.as_ref().or(section.path.as_ref()) {
            Some(path) => Text::load(&hub::locate(&at_home(path))?),
            None => bail!("[model] has a `config` but no `tokenizer`: say which directory holds tokenizer.json"),
        }
    }
}

/// The generation config of a model that has none as a file.
fn generation_asset(config: &GenerationConfig, tokenizer: &Tokenizer) -> (String, Vec<u8>) {
    (generation_config::FILE.to_owned(), config.to_json(tokenizer).into_bytes())
}

/// `~/` at the beginning of a path is the home directory, as in a shell.
pub fn at_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => path.to_owned(),
    }
}

/// Loads or builds the recipe's model.
pub fn model(section: &ModelSection) -> Result<Model> {
    match (&section.path, &section.config) {
        (Some(path), None) => {
            let path = hub::locate(&at_home(path))?;
            let work = Work::loading(&path);
            Ok(Model::load_watched(&path, false, &mut |read, of| work.set(read as u64, of as u64))?)
        }
        (None, Some(config)) => Ok(Model::random(Config::load(config)?, section.init_seed)?),
        (None, None) => bail!("[model] needs `path` (weights to start from) or `config` (random weights)"),
        (Some(_), Some(_)) => bail!("[model] has both `path` and `config`: weights are loaded or random, not both"),
    }
}

/// Runs `f` with the recipe's number of threads.
pub fn with_threads<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    // Always from inside the pool: a call from outside wakes a thread and waits for it, op after op.
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    meno_tensor::pool::with_threads(if threads == 0 { all } else { threads }, f)
}

/// Opens a recipe's task and hands it to `f` as the model sees it.
pub fn with_task<R>(section: &TaskSection, text: &Text, f: impl FnOnce(&Asked) -> Result<R>) -> Result<R> {
    with_split(section, Split::Train, text, f)
}

/// As [`with_task`], with the questions of `split`.
fn with_split<R>(section: &TaskSection, split: Split, text: &Text, f: impl FnOnce(&Asked) -> Result<R>) -> Result<R> {
    let task = section.open()?;
    let prompt = |problem: &meno_eval::Problem| section.render(problem, text.template.as_ref());
    f(&Asked {
        task: task.as_ref(),
        split,
        tokenizer: &text.tokenizer,
        add_special: section.prompt.add_special(),
        prompt: &prompt,
        seed: section.seed,
    })
}

/// Opens what a recipe holds out, if it wants any, and hands it to `f`: the questions of `eval.eval_task`, and the
/// `examples` of `eval.eval_files`; without either, the questions of another split of `section`. Answers have up to
/// `max_completion_length` tokens.
pub fn with_evaluation<R>(
    section: &TaskSection,
    settings: &Evaluate,
    text: &Text,
    (max_completion_length, precision): (usize, Dtype),
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
        f(Some(evaluation.asking(asked, max_completion_length, precision.into())?))
    })
}

/// Where the checkpoints of a run go. Nothing is written yet; a run that cannot begin or go on is refused.
pub fn checkpoints<R: Recipe>(
    args: &RecipeArgs,
    run: &RunSection,
    recipe: &R,
    assets: Vec<(String, Vec<u8>)>,
) -> Result<Checkpoints> {
    let dtype = match run.save_dtype {
        Dtype::F32 => meno_model::Dtype::F32,
        Dtype::Bf16 => meno_model::Dtype::Bf16,
    };
    let begun = resume::begun(recipe)?;
    // A directory that is not there yet is locked when it is made.
    let lock = run.output_dir.is_dir().then(|| RunLock::acquire(&run.output_dir)).transpose()?.map(Arc::new);
    let mut checkpoints = Checkpoints {
        dir: run.output_dir.clone(),
        save_steps: run.save_steps,
        save_total_limit: run.save_total_limit,
        dtype,
        resume: args.resume,
        assets,
        begun: Some(begun.clone()),
        found: None,
        lock,
    };
    if let Some((step, _)) = checkpoints.latest().filter(|_| !args.resume) {
        let dir = run.output_dir.display();
        bail!("{dir} holds a run at step {step}: go on with --resume, or choose another run.output_dir");
    }
    if let Some(found) = checkpoints.newest_whole()? {
        found.notes.iter().for_each(|note| eprintln!("note: {note}"));
        let path = &found.path;
        let instead = format!("for a new run from its weights, set model.path = {:?}", path.display().to_string());
        check_resume::<R>(path, found.state.begun.as_ref(), &begun, &instead)?;
        checkpoints.found = Some(found);
    }
    Ok(checkpoints)
}

/// Refuses to go on with other settings or other data than a run was begun with.
pub fn check_resume<R: Recipe>(path: &Path, saved: Option<&Begun>, now: &Begun, instead: &str) -> Result<()> {
    let Some(saved) = saved else {
        eprintln!("note: {} does not say with which settings and data it was begun", path.display());
        return Ok(());
    };
    let differences = resume::differences::<R>(saved, now);
    if differences.is_empty() {
        return Ok(());
    }
    bail!(
        "{}: --resume goes on with the same settings and data, but these differ: {}. Set them back, or choose another \
         run.output_dir; {instead}",
        path.display(),
        differences.join("; ")
    )
}

/// Runs `f` with everything around it, and says how it ended. A run that fails before its first checkpoint leaves
/// nothing behind.
pub fn run<R: Serialize>(
    args: &RecipeArgs,
    verb: &str,
    recipe: &R,
    checkpoints: Checkpoints,
    f: impl FnOnce(&mut Run) -> Result<Summary>,
) -> Result<()> {
    run_evaluated(args, verb, recipe, checkpoints, None, f)
}

/// As [`run`], with held-out questions.
pub fn run_evaluated<R: Serialize>(
    args: &RecipeArgs,
    verb: &str,
    recipe: &R,
    mut checkpoints: Checkpoints,
    evaluation: Option<Evaluation>,
    f: impl FnOnce(&mut Run) -> Result<Summary>,
) -> Result<()> {
    let (file, metrics) = (checkpoints.dir.join("recipe.toml"), checkpoints.dir.join("metrics.jsonl"));
    let mut created = Created::default();
    created.dir(&checkpoints.dir)?;
    if checkpoints.lock.is_none() {
        created.file(&checkpoints.dir.join(run_lock::FILE));
        checkpoints.lock = Some(Arc::new(RunLock::acquire(&checkpoints.dir)?));
    }
    created.file(&file);
    std::fs::write(&file, recipe::resolved(recipe)).with_context(|| file.display().to_string())?;
    created.file(&metrics);
    let mut view = args.view(&format!("meno {verb}"));
    if let Some(found) = &checkpoints.found {
        view.note(&format!("going on from step {}: {}", found.state.step, found.path.display()));
    }
    let mut run =
        Run { checkpoints: Some(checkpoints.clone()), metrics: Some(metrics), evaluation, ..Run::new(&mut view) };
    let result = f(&mut run);
    drop(run);
    if result.is_ok() {
        view.finish("");
    }
    drop(view);
    if result.is_ok() || checkpoints.latest().is_some() {
        created.keep();
    }
    let summary = result?;
    if summary.stopped {
        match checkpoints.latest() {
            Some((saved, path)) => eprintln!(
                "stopped after step {}; step {saved} is saved in {}.\ngo on with: {}",
                summary.steps,
                path.display(),
                args.resume_command(verb)
            ),
            None => eprintln!("stopped after step {}; no checkpoint was due yet (run.save_steps)", summary.steps),
        }
        drop(checkpoints);
        std::process::exit(130);
    }
    eprintln!("done: {} steps, the model is in {}", summary.steps, checkpoints.dir.display());
    Ok(())
}
