//! `meno eval`: evaluates a model by a recipe with `[model]`, `[task]` and `[eval]`, or by the equivalent
//! flags.

mod output;

use crate::arguments::{DEVICES, size, thread_count};
use crate::interrupt;
use crate::open;
use crate::progress::{Unit, Work};
use crate::ranks;
use crate::session;
use crate::training;
use anyhow::{Result, bail};
use meno_engine::task_profile::TaskProfile;
use meno_engine::{Generator, Sampling};
use meno_eval::score::Summary;
use meno_eval::{Problem, Task};
use meno_model::Model;
use meno_tensor::device::Device;
use meno_tensor::precision::Precision;
use meno_train::data::{Question, Questions, TaskQuestions};
use meno_train::evaluation::judge_all;
use meno_train::memory::Estimate;
use meno_train::recipe::{self, EvalRecipe, EvalSection, resume};
use meno_train::rollout::{RolloutConfig, finished, generator};
use meno_train::time::{Answering, Time};
use meno_train::{Error, Observer};
use output::Output;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Arguments of `meno eval`: the given ones change the recipe's values, `--set` changes them last.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// A model, or a recipe: a TOML file with [model], [task] and [eval]
    #[arg(value_name = "MODEL|RECIPE.toml")]
    first: Option<PathBuf>,
    /// Model: a Hugging Face directory, a GGUF file, or a hub name, ORG/NAME or ORG/NAME:QUANT (model.path)
    #[arg(short, long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// arithmetic (the default), countdown, or a data file of questions and answers (task.name)
    #[arg(long, value_name = "NAME|FILE")]
    task: Option<String>,
    /// Form of the prompt: chat, r1_zero or plain; a model with a meno.json brings its own (task.prompt)
    #[arg(long, value_name = "FORM")]
    prompt: Option<String>,
    /// Run the programs in answers inside a sandbox, for files of programming problems (task.sandbox)
    #[arg(long)]
    sandbox: bool,
    /// Number of problems [default: all of a file, else 200] (eval.num_problems)
    #[arg(long, value_name = "N")]
    problems: Option<u64>,
    /// Samples per problem [default: 4] (eval.num_samples)
    #[arg(short, long, value_name = "N")]
    k: Option<usize>,
    /// Sampling temperature; 0 always takes the most likely token [default: 0.6] (eval.temperature)
    #[arg(long, value_name = "X")]
    temperature: Option<f32>,
    /// Sample from the most likely tokens whose probabilities add up to this [default: 0.95] (eval.top_p)
    #[arg(long, value_name = "P")]
    top_p: Option<f32>,
    /// Maximum number of tokens in a response, e.g. 512 or 4k [default: 512] (eval.max_completion_length)
    #[arg(long, value_name = "TOKENS", value_parser = size)]
    max_tokens: Option<usize>,
    /// Seed of the sampling [default: 0] (eval.seed)
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Concurrent sequences [default: 32] (eval.max_sequences)
    #[arg(long, value_name = "N")]
    max_sequences: Option<usize>,
    /// Number format of the matrix products: auto, f32 or bf16 (eval.precision; auto: f32, on a GPU bf16, for matrices
    /// that are not quantized)
    #[arg(long, value_name = "TYPE")]
    precision: Option<String>,
    /// Write every response to this file, one line per problem (eval.out)
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[arg(long, value_name = "NAME", help = format!("{DEVICES} (model.device)"))]
    device: Option<Device>,
    /// Threads; 0 uses all cores [default: 0] (eval.threads)
    #[arg(long, value_name = "N", value_parser = thread_count)]
    threads: Option<usize>,
    /// Change a value of the recipe, e.g. --set task.countdown.max_numbers=3 (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print the resolved recipe, and the memory and the time that the run needs, then exit
    #[arg(long)]
    dry_run: bool,
    /// Continue with the file of --out
    #[arg(long)]
    resume: bool,
    /// Overwrite the file of --out if it already exists
    #[arg(long, conflicts_with = "resume")]
    force: bool,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    /// The recipe and the model, from positional arguments or flags: a name that ends with .toml is a recipe.
    fn recipe_and_model(&self) -> Result<(Option<&PathBuf>, Option<&PathBuf>)> {
        match (&self.first, &self.model) {
            (Some(first), model) if first.extension().is_some_and(|e| e == "toml") => Ok((Some(first), model.as_ref())),
            (Some(first), Some(_)) => {
                bail!("{}: expected a recipe, FILE.toml, because -m names the model already", first.display())
            }
            (first, model) => Ok((None, first.as_ref().or(model.as_ref()))),
        }
    }

    /// Loads the recipe and applies the changes.
    fn load(&self) -> Result<EvalRecipe> {
        let text = |key: &str, value: Option<String>| value.map(|v| format!("{key}={v:?}"));
        let number = |key: &str, value: Option<String>| value.map(|v| format!("{key}={v}"));
        let path = |p: Option<&PathBuf>| p.map(|p| p.display().to_string());
        let (from, model) = self.recipe_and_model()?;
        let default_task = from.is_none().then(|| "arithmetic".to_owned());
        let flags = [
            text("model.path", path(model)),
            text("model.device", self.device.map(|device| device.to_string())),
            text("task.name", self.task.clone().or(default_task)),
            text("task.prompt", self.prompt.clone()),
            self.sandbox.then(|| "task.sandbox=true".to_owned()),
            number("eval.num_problems", self.problems.map(|v| v.to_string())),
            number("eval.num_samples", self.k.map(|v| v.to_string())),
            number("eval.temperature", self.temperature.map(|v| v.to_string())),
            number("eval.top_p", self.top_p.map(|v| v.to_string())),
            number("eval.max_completion_length", self.max_tokens.map(|v| v.to_string())),
            number("eval.seed", self.seed.map(|v| v.to_string())),
            number("eval.max_sequences", self.max_sequences.map(|v| v.to_string())),
            text("eval.precision", self.precision.clone()),
            text("eval.out", path(self.out.as_ref())),
            number("eval.threads", self.threads.map(|v| v.to_string())),
        ];
        let sets: Vec<String> = flags.into_iter().flatten().chain(self.set.iter().cloned()).collect();
        let mut recipe: EvalRecipe = match from {
            Some(path) => recipe::load(path, &sets)?,
            None => recipe::parse("meno eval", "", &sets)?,
        };
        if let Some(path) = &mut recipe.model.path {
            *path = open::model(path)?;
        }
        if self.resume && recipe.eval.out.is_none() {
            bail!("--resume continues the file of --out (eval.out), but --out is not given");
        }
        Ok(recipe)
    }
}

/// Shows progress on one line and stops on Ctrl-C.
struct EvalProgress {
    work: Work,
    stop: Arc<AtomicBool>,
    before: u64,
    total: u64,
}

impl Observer for EvalProgress {
    fn on_progress(&mut self, _what: &str, done: usize, _total: usize) {
        self.work.set(self.before + done as u64, self.total);
    }
    fn on_sampled(&mut self, tokens: usize, seconds: f64) {
        let rate = tokens as f64 / seconds.max(1e-3);
        self.work.detail(format!("{tokens} tokens, {rate:.0} tokens/s"));
    }
    fn on_note(&mut self, line: &str) {
        self.work.note(line);
    }
    fn should_stop(&mut self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Runs `meno eval`.
pub(crate) fn run(args: Args) -> Result<()> {
    let recipe = args.load()?;
    training::with_threads(recipe.eval.threads, || evaluate(&args, &recipe))
}

fn evaluate(args: &Args, recipe: &EvalRecipe) -> Result<()> {
    let task = recipe.task.open()?;
    let wanted = recipe.eval.num_problems.or(task.len(recipe.eval.split)).unwrap_or(200);
    let mut output = match args.dry_run {
        true => Output::default(),
        false => {
            ranks::check_equal(&resume::inputs(recipe)?, recipe.model.path.as_deref())?;
            Output::open(recipe, args.recipe_and_model()?.0.map(PathBuf::as_path), args.resume, args.force)?
        }
    };
    output.judged.truncate(wanted as usize);
    ranks::check_progress(output.judged.len())?;
    let (mut model, precision) = load(recipe)?;
    let text = open::text_assets(&recipe.model)?;
    let profile = match &recipe.model.path {
        Some(path) if path.is_dir() => TaskProfile::load(path)?,
        _ => None,
    };
    let prompt = |problem: &Problem| match profile.as_ref().and_then(|t| t.prompt(&problem.question)) {
        Some(prompt) => Ok(prompt),
        None => recipe.task.render(problem, text.template.as_ref()),
    };
    let asked = TaskQuestions {
        task: task.as_ref(),
        split: recipe.eval.split,
        tokenizer: &text.tokenizer,
        add_special: profile.is_none() && recipe.task.prompt.add_special(),
        prompt: &prompt,
        seed: recipe.task.seed,
    };
    let first = output.judged.len() as u64;
    let questions: Vec<Question> = (first..wanted).map(|i| asked.question(i)).collect::<Result<_, Error>>()?;
    let config = rollout_config(&recipe.eval, precision, asked.stop_tokens());
    let longest = questions.iter().map(|q| q.prompt.len()).max().unwrap_or(1);
    let mut generator = generator(&model, &config, longest)?;
    if args.dry_run {
        let memory = training::commented(&memory(&model, precision, &generator)?);
        drop(generator);
        let time = training::probing(|| time(&mut model, &config, &asked, &questions))?;
        println!("{}\n{memory}\n{}", recipe::resolved(recipe), training::commented_time(&time));
        return Ok(());
    }
    let stopped = sample(&mut model, &mut generator, &config, &asked, questions, &mut output)?;
    if !(stopped && output.judged.is_empty()) {
        print(args.json, task.as_ref(), &Summary::of(task.as_ref(), &output.judged))?;
    }
    if stopped {
        let how = match &recipe.eval.out {
            Some(out) => format!("saved in {}; continue with the same command and --resume", out.display()),
            None => "answers not saved (use --out FILE to save them)".to_owned(),
        };
        eprintln!("stopped after {} of {wanted} problems, {how}", output.judged.len());
        ranks::exit_stopped();
    }
    Ok(())
}

/// Loads the model; returns it with the precision of its products.
fn load(recipe: &EvalRecipe) -> Result<(Model, Precision)> {
    match &recipe.model.path {
        Some(path) => session::load(path, recipe.eval.precision, recipe.model.device),
        None => Ok((training::model(&recipe.model)?, recipe.model.device.default_precision())),
    }
}

fn rollout_config(eval: &EvalSection, precision: Precision, stop_tokens: Vec<u32>) -> RolloutConfig {
    let sampling = Sampling {
        temperature: eval.temperature,
        top_p: eval.top_p,
        max_tokens: eval.max_completion_length,
        stop_tokens,
        ..Sampling::default()
    };
    let config = RolloutConfig::new(eval.num_samples, sampling, eval.max_sequences, precision, [eval.seed, 0]);
    RolloutConfig { comm: ranks::world(), ..config }
}

fn memory(model: &Model, precision: Precision, generator: &Generator) -> Result<Estimate> {
    let mut estimate = Estimate::of_weights(model, precision)?;
    estimate.parts.push(("KV cache and activations of generation", generator.bytes()));
    Ok(estimate)
}

/// Estimates how long answering takes, from a probe with the first questions.
fn time(model: &mut Model, config: &RolloutConfig, asked: &TaskQuestions, questions: &[Question]) -> Result<Time> {
    let start = Instant::now();
    let part = questions.len().min((4 * config.slots).div_ceil(config.num_generations));
    let answering = Answering::measure(model, config, asked, &questions[..part])?;
    let answers = questions.len() * config.num_generations;
    let mut time = Time::default();
    time.push(format!("answering: {answers} answers, {}", answering.about()), answering.seconds(answers));
    time.probe = start.elapsed().as_secs_f64();
    Ok(time)
}

/// Answers the questions in batches; returns true if it was stopped.
fn sample(
    model: &mut Model,
    generator: &mut Generator,
    config: &RolloutConfig,
    asked: &TaskQuestions,
    questions: Vec<Question>,
    output: &mut Output,
) -> Result<bool> {
    let k = config.num_generations;
    let before = (output.judged.len() * k) as u64;
    let total = before + (questions.len() * k) as u64;
    let work = Work::new("responses", Unit::Count);
    work.skip(before);
    work.set(before, total);
    let stop = Arc::new(AtomicBool::new(false));
    interrupt::ask(stop.clone());
    let mut progress = EvalProgress { work: work.at_once(), stop, before, total };
    for part in questions.chunks((4 * config.slots).div_ceil(k)) {
        let at = output.judged.len() as u64;
        let (rollouts, stopped) = finished(model, generator, config, asked, (at, part.to_vec()), &mut progress)?;
        for judged in judge_all(asked.task, &rollouts, k, &*config.comm) {
            asked.task.check()?;
            output.add(judged)?;
        }
        if stopped {
            return Ok(true);
        }
        progress.before = (output.judged.len() * k) as u64;
    }
    Ok(false)
}

fn print(json: bool, task: &dyn Task, s: &Summary) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(s)?);
        return Ok(());
    }
    let interval =
        |i: meno_eval::Interval| format!("{:5.1} %  ({:.1} to {:.1})", 100.0 * i.mean, 100.0 * i.low, 100.0 * i.high);
    let samples = if s.samples == 1 { "1 sample".to_owned() } else { format!("{} samples", s.samples) };
    println!("{}: {} problems, {samples} each", task.name(), s.problems);
    println!("pass@1      {}", interval(s.pass1));
    if s.samples > 1 {
        println!("pass@{:<6} {:5.1} %", s.samples, 100.0 * s.pass_at_k);
        println!("cons@{:<6} {}", s.samples, interval(s.cons_at_k));
    }
    println!("right {}, wrong {}, truncated {}, unparsable {}", s.right, s.wrong, s.truncated, s.unparsable);
    println!("tokens      {:5.0}", s.mean_tokens.mean);
    Ok(())
}
