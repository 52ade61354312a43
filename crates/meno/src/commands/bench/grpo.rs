//! `meno bench grpo`: the time of complete GRPO steps with random prompts and a reward of no meaning: sampling, the
//! backward pass over all answers, and the update of the weights.

use super::measures::{device_memory_mb, median, peak_rss_mb};
use super::preset::Preset;
use crate::arguments::{DeviceArg, ModelName, thread_count, threads_of, with_threads};
use crate::open;
use crate::progress::{Unit, Work};
use anyhow::{Result, ensure};
use meno_model::{LoadOptions, Model};
use meno_tensor::cpu::cpu_seconds;
use meno_tensor::precision::Precision;
use meno_tensor::rng::Rng;
use meno_train::data::{Question, Questions, Verdict};
use meno_train::metrics::Metrics;
use meno_train::rewards::{Weighted, from_fn};
use meno_train::rollout::Rollout;
use meno_train::{Grpo, Observer, Run, Train};
use serde::Serialize;
use std::time::Instant;

/// Steps before the measurement starts.
const WARM_UP: usize = 1;

/// Arguments of `meno bench grpo`.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelName,
    /// Measure this network with random weights instead of a model [default without a model: W2t]
    #[arg(long, value_enum, value_name = "NAME", conflicts_with_all = ["positional", "model"])]
    preset: Option<Preset>,
    /// Questions of a step (grpo.num_questions)
    #[arg(long, default_value_t = 4, value_name = "N")]
    questions: usize,
    /// Answers to each question (grpo.num_generations)
    #[arg(long, default_value_t = 8, value_name = "N")]
    generations: usize,
    /// Tokens of a question
    #[arg(long, default_value_t = 48, value_name = "N")]
    prompt: usize,
    /// Tokens of an answer
    #[arg(long = "gen", default_value_t = 64, value_name = "N")]
    generate: usize,
    /// Tokens of a training pass, at most (train.max_tokens) [default: 8192]
    #[arg(long, default_value_t = 8192, value_name = "N", hide_default_value = true)]
    max_tokens: usize,
    /// Number format of the matrix products [default: f32, on a GPU bf16]
    #[arg(long, value_parser = super::precision(), value_name = "TYPE")]
    precision: Option<Precision>,
    #[command(flatten)]
    device: DeviceArg,
    /// Threads; 0 uses all cores
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = thread_count)]
    threads: usize,
    /// Steps to measure
    #[arg(long, default_value_t = 3, value_name = "N")]
    steps: usize,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

/// The measurements: medians over the steps.
#[derive(Serialize)]
struct Report {
    network: String,
    device: String,
    precision: &'static str,
    threads: usize,
    parameters: usize,
    questions: usize,
    generations: usize,
    prompt: usize,
    generate: usize,
    step_s: f64,
    step_cpu_s: f64,
    /// Of a step: until the answers are complete and rewarded, and the rest.
    sampling_s: f64,
    training_s: f64,
    samples_per_s: f64,
    sampled_tokens_per_s: f64,
    /// The largest of all steps.
    logprob_gap: f64,
    peak_rss_mb: f64,
    /// Memory in use on a GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_memory_mb: Option<f64>,
}

/// Questions of random tokens; no answer ends early.
struct RandomQuestions {
    vocab: usize,
    prompt: usize,
}

impl Questions for RandomQuestions {
    fn question(&self, index: u64) -> Result<Question, meno_train::Error> {
        let mut rng = Rng::new(&[2, index]);
        let prompt = (0..self.prompt).map(|_| rng.below(self.vocab) as u32).collect();
        Ok(Question { index, prompt, ..Question::default() })
    }
    fn text(&self, tokens: &[u32]) -> String {
        format!("{tokens:?}")
    }
    fn stop_tokens(&self) -> Vec<u32> {
        Vec::new()
    }
    fn verify(&self, _: &Question, _: &str, _: bool) -> Verdict {
        Verdict::Wrong
    }
}

/// The times of a step.
struct StepTime {
    wall: f64,
    cpu: f64,
    sampling: f64,
    gap: f64,
}

/// Takes the time at the end of each step.
struct Stopwatch {
    wall: Instant,
    cpu: f64,
    sampling: f64,
    steps: Vec<StepTime>,
    work: Work,
}

impl Observer for Stopwatch {
    fn on_rollouts(&mut self, _: &[Rollout]) {
        self.sampling = self.wall.elapsed().as_secs_f64();
    }
    fn on_step(&mut self, metrics: &Metrics, max_steps: usize) {
        let (wall, cpu) = (self.wall.elapsed().as_secs_f64(), cpu_seconds());
        let gap = metrics.get("sampling/logprob_gap").unwrap_or(f64::NAN);
        self.steps.push(StepTime { wall, cpu: cpu - self.cpu, sampling: self.sampling, gap });
        self.work.set(self.steps.len() as u64, max_steps as u64);
        (self.wall, self.cpu) = (Instant::now(), cpu);
    }
}

/// Runs `meno bench grpo`.
pub(super) fn run(mut args: Args) -> Result<()> {
    args.threads = threads_of(args.threads);
    ensure!(args.steps > 0, "--steps is 0: expected at least 1");
    ensure!(args.prompt > 0 && args.generate > 0, "--prompt and --gen: expected at least 1 token");
    let report = with_threads(args.threads, || measure(&args))?;
    match args.json {
        true => println!("{}", serde_json::to_string(&report)?),
        false => print!("{}", text(&report)),
    }
    Ok(())
}

/// Loads the model, or builds the preset; returns its name too.
fn load(args: &Args) -> Result<(String, Model)> {
    let device = args.device.device;
    match args.model.given() {
        None => {
            let (name, config) = args.preset.unwrap_or(Preset::W2t).config()?;
            Ok((name, Model::random_on(device, config, 1)?))
        }
        Some(path) => {
            let path = open::locate(path)?;
            let options = LoadOptions { device, ..LoadOptions::default() };
            Ok((path.display().to_string(), Model::load_with(&path, options, &mut |_, _| {})?))
        }
    }
}

fn measure(args: &Args) -> Result<Report> {
    let (network, mut model) = load(args)?;
    let device = args.device.device;
    let precision = args.precision.unwrap_or(device.default_precision());
    let train = Train {
        max_steps: WARM_UP + args.steps,
        learning_rate: 1e-6,
        max_tokens: args.max_tokens.max(args.prompt + args.generate),
        precision,
        ..Train::default()
    };
    let grpo = Grpo {
        num_questions: args.questions,
        num_generations: args.generations,
        max_prompt_length: args.prompt,
        max_completion_length: args.generate,
        max_sequences: args.questions * args.generations,
        temperature: 1.0,
        top_p: 1.0,
        ..Grpo::default()
    };
    let questions = RandomQuestions { vocab: model.config.vocab_size, prompt: args.prompt };
    // Any value that differs between answers: every group has a gradient.
    let rewards = [Weighted::new(1.0, from_fn("length", |answer| (answer.text.len() % 7) as f32))];
    let work = Work::new("GRPO steps", Unit::Count);
    let mut watch = Stopwatch { wall: Instant::now(), cpu: cpu_seconds(), sampling: 0.0, steps: Vec::new(), work };
    grpo.run(&train, &mut model, &questions, &rewards, &mut Run::new(&mut watch))?;
    let device_memory_mb = device_memory_mb(&**model.backend())?;
    let (warm, steps) = watch.steps.split_at(WARM_UP);
    let wall = median(steps.iter().map(|s| s.wall));
    let sampling = median(steps.iter().map(|s| s.sampling));
    let samples = (args.questions * args.generations) as f64;
    Ok(Report {
        network,
        device: device.to_string(),
        precision: precision.name(),
        threads: args.threads,
        parameters: model.layout().count(),
        questions: args.questions,
        generations: args.generations,
        prompt: args.prompt,
        generate: args.generate,
        step_s: wall,
        step_cpu_s: median(steps.iter().map(|s| s.cpu)),
        sampling_s: sampling,
        training_s: wall - sampling,
        samples_per_s: samples / wall,
        sampled_tokens_per_s: samples * args.generate as f64 / sampling,
        logprob_gap: warm.iter().chain(steps).map(|s| s.gap).max_by(f64::total_cmp).unwrap_or(f64::NAN),
        peak_rss_mb: peak_rss_mb(),
        device_memory_mb,
    })
}

fn text(r: &Report) -> String {
    let mut out = format!(
        "{} on {}, {}, {} thread{}, {:.1} M parameters: {} questions of {} tokens × {} answers of {}\n\n",
        r.network,
        r.device,
        r.precision,
        r.threads,
        if r.threads == 1 { "" } else { "s" },
        r.parameters as f64 / 1e6,
        r.questions,
        r.prompt,
        r.generations,
        r.generate,
    );
    let on_card = r.device_memory_mb.map(|mb| format!("{mb:.0} MB in use"));
    for (name, value) in [
        ("step", format!("{:.2} s, {:.2} s of CPU time", r.step_s, r.step_cpu_s)),
        ("sampling", format!("{:.2} s, {:.0} tokens/s", r.sampling_s, r.sampled_tokens_per_s)),
        ("training", format!("{:.2} s", r.training_s)),
        ("samples/s", format!("{:.1}", r.samples_per_s)),
        ("sampling/logprob_gap", format!("{}", r.logprob_gap)),
        ("peak memory", format!("{:.0} MB", r.peak_rss_mb)),
        ("memory of the card", on_card.unwrap_or_default()),
    ] {
        if !value.is_empty() {
            out += &format!("{name:22} {value}\n");
        }
    }
    out
}
