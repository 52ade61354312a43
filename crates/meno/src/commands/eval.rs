//! `meno eval`.

use crate::hub;
use crate::session::PrecisionArg;
use crate::training::{Text, on_ctrl_c, with_threads};
use anyhow::{Context, Result, bail};
use meno_engine::Sampling;
use meno_engine::taught::Taught;
use meno_eval::score::{Judged, Sample, Summary};
use meno_eval::{Problem, Split, Task};
use meno_model::Model;
use meno_tensor::gemm::Precision;
use meno_train::data::{Asked, Questions};
use meno_train::prompt::PromptStyle;
use meno_train::rollout::{Sampler, generator, rollout};
use meno_train::{Error, Observer};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Arguments of `meno eval`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A Hugging Face directory, a GGUF file, or ORG/NAME[:QUANT] of the hub
    #[arg(short, long)]
    model: PathBuf,
    /// arithmetic, countdown, or a .jsonl file of {"question", "answer"}
    #[arg(long, default_value = "arithmetic")]
    task: String,
    /// Problems; all of a file if left out, else 200
    #[arg(long)]
    problems: Option<u64>,
    /// Samples of each problem
    #[arg(short, long, default_value_t = 4)]
    k: usize,
    /// Sampling temperature; 0 for the most probable token
    #[arg(long, default_value_t = 0.6)]
    temperature: f32,
    /// Sample from the smallest set of tokens with this probability
    #[arg(long, default_value_t = 0.95)]
    top_p: f32,
    /// Longest response, in tokens
    #[arg(long, default_value_t = 512)]
    max_tokens: usize,
    /// Form of the prompt: chat, r1_zero or plain; a model with a meno.json brings its own
    #[arg(long, default_value = "chat", value_parser = prompt_style)]
    prompt: PromptStyle,
    /// Seed of the sampling
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Responses generated at once
    #[arg(long, default_value_t = 32)]
    max_sequences: usize,
    /// What matrix products compute on (auto: what is not quantised in f32)
    #[arg(long, value_enum, default_value = "auto")]
    precision: PrecisionArg,
    /// Write every response here, a line a problem; a file that is there already is gone on with
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    /// Threads; 0 for as many as there are cores
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

fn prompt_style(s: &str) -> Result<PromptStyle, String> {
    named(s, &[("chat", PromptStyle::Chat), ("r1_zero", PromptStyle::R1Zero), ("plain", PromptStyle::Plain)])
}

fn named<T: Copy>(s: &str, known: &[(&str, T)]) -> Result<T, String> {
    let names = || known.iter().map(|k| k.0).collect::<Vec<_>>().join(", ");
    known.iter().find(|k| k.0 == s).map(|k| k.1).ok_or_else(|| format!("expected one of {}", names()))
}

/// What an evaluation asks: the first line of its file, so that what is gone on with is the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    model: PathBuf,
    task: String,
    k: usize,
    temperature: f32,
    top_p: f32,
    max_tokens: usize,
    seed: u64,
}

/// Problems judged before and where more are written.
struct Output {
    judged: Vec<Judged>,
    file: Option<File>,
}

impl Output {
    fn open(path: Option<&Path>, header: &Header) -> Result<Output> {
        let Some(path) = path else { return Ok(Output { judged: Vec::new(), file: None }) };
        let name = || path.display().to_string();
        let mut judged = Vec::new();
        let mut whole = 0u64;
        if path.exists() {
            let mut reader = BufReader::new(File::open(path).with_context(name)?);
            let mut line = String::new();
            while reader.read_line(&mut line).with_context(name)? > 0 && line.ends_with('\n') {
                if whole == 0 {
                    let before: Header = serde_json::from_str(&line)
                        .with_context(|| format!("{}: is not a file of `meno eval`; choose another --out", name()))?;
                    if before != *header {
                        bail!("{}: holds another evaluation ({before:?}); choose another --out", name());
                    }
                } else {
                    judged
                        .push(serde_json::from_str(&line).with_context(|| format!("{}:{}", name(), judged.len() + 2))?);
                }
                whole += line.len() as u64;
                line.clear();
            }
        }
        // A line that a kill cut short is written anew.
        let mut file = File::options().create(true).write(true).truncate(false).open(path).with_context(name)?;
        file.set_len(whole).with_context(name)?;
        std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).with_context(name)?;
        if whole == 0 {
            writeln!(file, "{}", serde_json::to_string(header)?).with_context(name)?;
        }
        Ok(Output { judged, file: Some(file) })
    }

    fn add(&mut self, judged: Judged) -> Result<()> {
        if let Some(file) = &mut self.file {
            writeln!(file, "{}", serde_json::to_string(&judged)?)?;
        }
        self.judged.push(judged);
        Ok(())
    }
}

/// Shows progress on one line and stops at Ctrl-C.
struct Progress {
    bar: indicatif::ProgressBar,
    stop: Arc<AtomicBool>,
    before: u64,
}

impl Observer for Progress {
    fn on_progress(&mut self, _what: &str, done: usize, _total: usize) {
        self.bar.set_position(self.before + done as u64);
    }
    fn should_stop(&mut self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Runs `meno eval`.
pub fn run(mut args: Args) -> Result<()> {
    args.model = hub::locate(&args.model)?;
    if args.k == 0 || args.max_tokens == 0 || args.max_sequences == 0 {
        bail!("-k, --max-tokens and --max-sequences must be 1 or above");
    }
    with_threads(args.threads, || evaluate(&args))
}

fn evaluate(args: &Args) -> Result<()> {
    let task = meno_eval::tasks::open(&args.task)?;
    let (mut model, precision) = args.precision.load(&args.model, Precision::F32)?;
    let text = Text::load(&args.model)?;
    let taught = if args.model.is_dir() { Taught::load(&args.model)? } else { None };
    let prompt = |problem: &Problem| match taught.as_ref().and_then(|t| t.prompt(&problem.question)) {
        Some(prompt) => Ok(prompt),
        None => args.prompt.render(problem, None, text.template.as_ref()),
    };
    let asked = Asked {
        task: task.as_ref(),
        split: Split::Test,
        tokenizer: &text.tokenizer,
        add_special: taught.is_none() && args.prompt.add_special(),
        prompt: &prompt,
        seed: args.seed,
    };
    let header = Header {
        model: args.model.clone(),
        task: args.task.clone(),
        k: args.k,
        temperature: args.temperature,
        top_p: args.top_p,
        max_tokens: args.max_tokens,
        seed: args.seed,
    };
    let wanted = args.problems.or(task.len(Split::Test)).unwrap_or(200);
    let mut output = Output::open(args.out.as_deref(), &header)?;
    output.judged.truncate(wanted as usize);
    let stopped = sample(args, (&mut model, precision), &asked, wanted, &mut output)?;
    let summary = Summary::of(task.as_ref(), &output.judged);
    print(args, task.as_ref(), &summary)?;
    if stopped {
        eprintln!(
            "stopped after {} of {wanted} problems{}",
            output.judged.len(),
            match &args.out {
                Some(_) => "; the same command goes on from here",
                None => "",
            }
        );
        std::process::exit(130);
    }
    Ok(())
}

/// Answers the problems that are left, some at a time; whether it was stopped.
fn sample(
    args: &Args,
    (model, precision): (&mut Model, Precision),
    asked: &Asked,
    wanted: u64,
    output: &mut Output,
) -> Result<bool> {
    let sampling = Sampling {
        temperature: args.temperature,
        top_p: args.top_p,
        top_k: 0,
        min_p: 0.0,
        max_tokens: args.max_tokens,
        stop_tokens: asked.stop_tokens(),
        ..Sampling::default()
    };
    let slots = args.max_sequences;
    let sampler =
        Sampler { num_generations: args.k, sampling, slots, rows: 512.max(slots), precision, key: [args.seed, 0] };
    let first = output.judged.len() as u64;
    let questions: Vec<_> = (first..wanted).map(|i| asked.question(i)).collect::<Result<_, Error>>()?;
    let Some(longest) = questions.iter().map(|q| q.prompt.len()).max() else { return Ok(false) };
    let mut generator = generator(model, &sampler, longest)?;
    let bar = indicatif::ProgressBar::new(wanted * args.k as u64);
    let stop = Arc::new(AtomicBool::new(false));
    on_ctrl_c(stop.clone());
    let mut progress = Progress { bar, stop, before: first * args.k as u64 };
    for part in questions.chunks((4 * slots).div_ceil(args.k)) {
        let at = output.judged.len() as u64;
        let rollouts = rollout(model, &mut generator, &sampler, asked, &[], (at, part.to_vec()), &mut progress)?;
        let Some(rollouts) = rollouts else { return Ok(true) };
        for group in rollouts.chunks(args.k) {
            let problem = group[0].question.problem();
            let judge = |r: &meno_train::rollout::Rollout| {
                Sample::judge(asked.task, &problem, r.text.clone(), r.tokens.len(), r.truncated)
            };
            output.add(Judged { samples: group.iter().map(judge).collect(), problem: problem.clone() })?;
        }
        progress.before = output.judged.len() as u64 * args.k as u64;
    }
    progress.bar.finish_and_clear();
    Ok(false)
}

fn print(args: &Args, task: &dyn Task, s: &Summary) -> Result<()> {
    if args.json {
        println!("{}", serde_json::to_string_pretty(s)?);
        return Ok(());
    }
    let interval =
        |i: meno_eval::Interval| format!("{:5.1} %  ({:.1} to {:.1})", 100.0 * i.mean, 100.0 * i.low, 100.0 * i.high);
    println!("{}: {} problems, {} samples each", task.name(), s.problems, s.samples);
    println!("pass@1      {}", interval(s.pass1));
    println!("pass@{:<6} {:5.1} %", s.samples, 100.0 * s.pass_at_k);
    println!("cons@{:<6} {}", s.samples, interval(s.cons_at_k));
    println!("right {}, wrong {}, truncated {}, unparsable {}", s.right, s.wrong, s.truncated, s.unparsable);
    println!("tokens      {:5.0}", s.mean_tokens.mean);
    Ok(())
}
