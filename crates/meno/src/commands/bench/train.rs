//! `meno bench train`: tokens per second of complete training steps, by CPU time and by wall-clock time, and
//! a profile by op.

use super::measures::{median, peak_rss_mb};
use crate::arguments::{thread_count, threads_of};
use crate::progress::{Unit, Work};
use anyhow::{Context, Result, ensure};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use meno_model::{Config, Model, TrainOptions};
use meno_tensor::backend::{Executor, OpTime, Pass, Profile};
use meno_tensor::cpu::{cpu_seconds, roofline};
use meno_tensor::optim::{OptimizerConfig, clip_scale};
use meno_tensor::pool;
use meno_tensor::precision::Precision;
use meno_tensor::rng::Rng;
use meno_tensor::tape::{Batch, CrossEntropy};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

/// Steps before the measurement starts.
const WARM_UP: usize = 2;

/// Arguments of `meno bench train`.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Network and batch to measure; other frameworks were measured with the same ones
    #[arg(long, value_enum, value_name = "NAME", default_value_t = Preset::W2, conflicts_with = "config")]
    preset: Preset,
    /// Measure the network of this config.json instead
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sequences of a batch [default: the preset's, or 8]
    #[arg(long, value_name = "N")]
    sequences: Option<usize>,
    /// Tokens of a sequence [default: the preset's, or 256]
    #[arg(long, value_name = "N")]
    length: Option<usize>,
    /// Number format of the matrix products
    #[arg(long, value_parser = precision(), value_name = "TYPE", default_value = "f32")]
    precision: Precision,
    /// Threads; 0 uses all cores
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = thread_count)]
    threads: usize,
    /// Steps to measure
    #[arg(long, default_value_t = 9, value_name = "N")]
    steps: usize,
    /// Recompute activations in the backward pass instead of keeping them
    #[arg(long)]
    recompute: bool,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

/// Parses `f32` or `bf16`.
fn precision() -> impl TypedValueParser<Value = Precision> {
    PossibleValuesParser::new(["f32", "bf16"]).try_map(|name| name.parse())
}

/// The networks of PyTorch's and transformers' scripts in docs/log.md, section "Training speed".
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Preset {
    /// Llama, 6 layers × 256, vocabulary 8192, 8 × 256 tokens
    #[value(name = "W2")]
    W2,
    /// Llama, 4 layers × 128, vocabulary 512, 16 × 128 tokens
    #[value(name = "W2t")]
    W2t,
    /// DeepSeek-V3 (MLA, MoE of 16 experts), 6 layers × 256, vocabulary 8192, 8 × 256 tokens
    #[value(name = "V3")]
    V3,
}

impl Preset {
    fn config(self) -> &'static str {
        match self {
            Preset::W2 => include_str!("presets/w2.json"),
            Preset::W2t => include_str!("presets/w2t.json"),
            Preset::V3 => include_str!("presets/v3.json"),
        }
    }
    /// The number of sequences and the tokens in each.
    fn batch(self) -> (usize, usize) {
        match self {
            Preset::W2 | Preset::V3 => (8, 256),
            Preset::W2t => (16, 128),
        }
    }
}

/// The measurements.
#[derive(Serialize)]
struct Report {
    network: String,
    precision: &'static str,
    threads: usize,
    parameters: usize,
    sequences: usize,
    length: usize,
    steps: usize,
    /// Medians over the steps.
    tokens_per_cpu_s: f64,
    tokens_per_s: f64,
    step_ms: f64,
    gflop_per_step: f64,
    gflops: f64,
    /// Peak of one thread that computes in registers only, measured in this run.
    peak_gflops: f64,
    fraction_of_peak: f64,
    peak_rss_mb: f64,
    activations_mb: f64,
    loss: f64,
    /// CPU milliseconds per step.
    profile: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    op: &'static str,
    forward_ms: f64,
    backward_ms: f64,
}

/// Runs `meno bench train`.
pub(super) fn run(mut args: Args) -> Result<()> {
    args.threads = threads_of(args.threads);
    ensure!(args.steps > 0, "--steps is 0: expected at least 1");
    let (network, config) = match &args.config {
        Some(path) => (path.display().to_string(), Config::load(path)?),
        None => {
            let name = format!("{:?}", args.preset);
            let value = serde_json::from_str(args.preset.config()).context("the preset's config")?;
            (name.clone(), Config::from_value(&name, value)?)
        }
    };
    let (sequences, length) = match args.config {
        Some(_) => (8, 256.min(config.max_position_embeddings)),
        None => args.preset.batch(),
    };
    let (sequences, length) = (args.sequences.unwrap_or(sequences), args.length.unwrap_or(length));
    ensure!(
        sequences > 0 && length > 1,
        "a batch of {sequences} × {length} tokens trains nothing: expected 1 × 2 or more"
    );
    ensure!(
        length <= config.max_position_embeddings && sequences <= 1 << 16,
        "{sequences} × {length} tokens: expected at most {} (max_position_embeddings) × 65536",
        config.max_position_embeddings
    );
    let report = pool::with_threads(args.threads, || measure(&args, network, config, sequences, length))?;
    match args.json {
        true => println!("{}", serde_json::to_string(&report)?),
        false => print!("{}", text(&report)),
    }
    Ok(())
}

/// Random tokens; every target has the same weight.
fn random_batch(vocab: usize, sequences: usize, length: usize) -> Batch {
    let mut rng = Rng::new(&[1]);
    let mut batch = Batch::default();
    let weight = 1.0 / (sequences * (length - 1)) as f32;
    for _ in 0..sequences {
        let tokens: Vec<u32> = (0..length).map(|_| rng.below(vocab) as u32).collect();
        batch.push_training(&tokens, |_| weight);
    }
    batch
}

fn measure(args: &Args, network: String, config: Config, sequences: usize, length: usize) -> Result<Report> {
    let precision = args.precision;
    let vocab = config.vocab_size;
    let mut model = Model::random(config, 1)?;
    let options = TrainOptions { recompute: args.recompute, mtp: true };
    let mut executor = model.train_executor(sequences * length, options)?;
    let batch = random_batch(vocab, sequences, length);
    let backend = model.backend().clone();
    let mut grads = backend.buffer(model.layout().total())?;
    let mut optimizer = backend.optimizer(OptimizerConfig::default(), model.layout())?;
    let loss = CrossEntropy { head_scale: [1.0, 0.3] };
    let peak_gflops = roofline::gflops(precision);
    // CPU and wall-clock seconds of every step; then of preparing weights, and of clipping and AdamW.
    let (mut times, mut others) = (Vec::new(), [0f64; 2]);
    let work = Work::new("training steps", Unit::Count);
    for step in 0..WARM_UP + args.steps {
        work.set(step as u64, (WARM_UP + args.steps) as u64);
        if step == WARM_UP {
            executor.start_profile();
            others = [0.0; 2];
        }
        let (wall, start) = (Instant::now(), cpu_seconds());
        model.weights.prepare(precision)?;
        let prepared = cpu_seconds();
        let pass = Pass::new(precision, &batch).with_objective(&loss);
        executor.step(&mut *model.weights, pass, &mut *grads)?;
        let differentiated = cpu_seconds();
        let norm = backend.gradient_norm(model.layout(), &*grads)?;
        optimizer.step(&mut *model.weights, &mut *grads, 1e-3, clip_scale(norm, 1.0))?;
        let end = cpu_seconds();
        times.push((end - start, wall.elapsed().as_secs_f64()));
        others[0] += prepared - start;
        others[1] += end - differentiated;
    }
    drop(work);
    let times = &times[WARM_UP..];
    let (cpu, wall) = (median(times.iter().map(|t| t.0)), median(times.iter().map(|t| t.1)));
    let tokens = (sequences * length) as f64;
    // Attention cost grows with sequence length, everything else with the number of tokens. Backward costs
    // twice as much as forward.
    let gflop = 3.0 * sequences as f64 * executor.program().flops(length) as f64 / 1e9;
    Ok(Report {
        network,
        precision: precision.name(),
        threads: args.threads,
        parameters: model.layout().count(),
        sequences,
        length,
        steps: args.steps,
        tokens_per_cpu_s: tokens / cpu,
        tokens_per_s: tokens / wall,
        step_ms: wall * 1e3,
        gflop_per_step: gflop,
        gflops: gflop / wall,
        peak_gflops,
        fraction_of_peak: gflop / cpu / peak_gflops,
        peak_rss_mb: peak_rss_mb(),
        activations_mb: executor.bytes() as f64 / (1 << 20) as f64,
        loss: executor.outputs().losses.next_token,
        profile: profile(&*executor, others, args.steps),
    })
}

/// CPU time by op, slowest first.
fn profile(executor: &dyn Executor, others: [f64; 2], steps: usize) -> Vec<Entry> {
    let scale = 1e3 / steps as f64;
    let mut entries: Vec<Entry> = Vec::new();
    let nothing = Profile::default();
    for &OpTime { name: op, forward, backward } in &executor.profile().unwrap_or(&nothing).ops {
        let (forward_ms, backward_ms) = (forward * scale, backward * scale);
        match entries.iter_mut().find(|e| e.op == op) {
            Some(e) => {
                e.forward_ms += forward_ms;
                e.backward_ms += backward_ms;
            }
            None => entries.push(Entry { op, forward_ms, backward_ms }),
        }
    }
    entries.push(Entry { op: "(pack weights)", forward_ms: others[0] * scale, backward_ms: 0.0 });
    entries.push(Entry { op: "(clip, AdamW)", forward_ms: 0.0, backward_ms: others[1] * scale });
    entries.sort_by(|a, b| (b.forward_ms + b.backward_ms).total_cmp(&(a.forward_ms + a.backward_ms)));
    entries
}

fn text(r: &Report) -> String {
    let mut out = format!(
        "{} {}, {} thread{}, {} × {} tokens, {:.1} M parameters\n\n",
        r.network,
        r.precision,
        r.threads,
        if r.threads == 1 { "" } else { "s" },
        r.sequences,
        r.length,
        r.parameters as f64 / 1e6,
    );
    for (name, value) in [
        ("tokens/s by CPU time", format!("{:.0}", r.tokens_per_cpu_s)),
        ("tokens/s by the clock", format!("{:.0}", r.tokens_per_s)),
        ("step", format!("{:.1} ms, {:.1} GFLOP", r.step_ms, r.gflop_per_step)),
        ("speed", format!("{:.0} GFLOP/s", r.gflops)),
        (
            "peak of one thread",
            format!("{:.0} GFLOP/s ({:.0} % of it by CPU time)", r.peak_gflops, 100.0 * r.fraction_of_peak),
        ),
        ("peak memory", format!("{:.0} MB, of it {:.0} MB activations", r.peak_rss_mb, r.activations_mb)),
        ("loss", format!("{:.4}", r.loss)),
    ] {
        out += &format!("{name:22} {value}\n");
    }
    out += &format!("\n{:22} {:>12} {:>12}\n", "CPU ms a step", "forward", "backward");
    for e in &r.profile {
        out += &format!("{:22} {:12.2} {:12.2}\n", e.op, e.forward_ms, e.backward_ms);
    }
    out
}
