//! `meno bench train`: tokens per second of complete training steps, by CPU time and by wall-clock time, and
//! a profile by op.

use super::measures::{device_memory_mb, median, peak_rss_mb};
use super::preset::Preset;
use crate::arguments::{DeviceArg, thread_count, threads_of};
use crate::progress::{Unit, Work};
use anyhow::{Result, ensure};
use meno_model::{Config, Model, TrainOptions};
use meno_tensor::backend::{Buffer, Executor, OpTime, Optimizer, Pass, Profile};
use meno_tensor::cpu::{cpu_seconds, roofline};
use meno_tensor::device::Device;
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
/// Steps that are measured op by op.
const PROFILED: usize = 3;

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
    /// Number format of the matrix products [default: f32, on a GPU bf16]
    #[arg(long, value_parser = super::precision(), value_name = "TYPE")]
    precision: Option<Precision>,
    #[command(flatten)]
    device: DeviceArg,
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

/// The measurements.
#[derive(Serialize)]
struct Report {
    network: String,
    device: String,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_gflops: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fraction_of_peak: Option<f64>,
    peak_rss_mb: f64,
    /// Memory in use on a GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_memory_mb: Option<f64>,
    activations_mb: f64,
    loss: f64,
    /// Milliseconds per step: CPU time, or the device's time on a GPU.
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
        None => args.preset.config()?,
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

/// A training run on random tokens.
struct Bench {
    model: Model,
    executor: Box<dyn Executor>,
    grads: Box<dyn Buffer>,
    optimizer: Box<dyn Optimizer>,
    batch: Batch,
    precision: Precision,
}

/// The times of one step.
struct StepTime {
    cpu: f64,
    wall: f64,
    /// Seconds to prepare the weights, and to clip and update them: CPU time, or wall time on a GPU.
    prepare: f64,
    update: f64,
}

impl Bench {
    /// Takes one step and waits until the device has finished it.
    fn step(&mut self) -> Result<StepTime> {
        let backend = self.model.backend().clone();
        let gpu = matches!(backend.device(), Device::Cuda(_));
        let (wall, start) = (Instant::now(), cpu_seconds());
        let clock = || -> Result<f64> {
            if gpu {
                backend.synchronize()?;
            }
            Ok(if gpu { wall.elapsed().as_secs_f64() } else { cpu_seconds() - start })
        };
        let loss = CrossEntropy { head_scale: [1.0, 0.3] };
        self.model.weights.prepare(self.precision)?;
        let prepared = clock()?;
        let pass = Pass::new(self.precision, &self.batch).with_objective(&loss);
        self.executor.step(&mut *self.model.weights, pass, &mut *self.grads)?;
        let differentiated = clock()?;
        let norm = backend.gradient_norm(self.model.layout(), &*self.grads)?;
        self.optimizer.step(&mut *self.model.weights, &mut *self.grads, 1e-3, clip_scale(norm, 1.0))?;
        let end = clock()?;
        let (cpu, wall) = (cpu_seconds() - start, wall.elapsed().as_secs_f64());
        Ok(StepTime { cpu, wall, prepare: prepared, update: end - differentiated })
    }
}

fn measure(args: &Args, network: String, config: Config, sequences: usize, length: usize) -> Result<Report> {
    let device = args.device.device;
    let precision = args.precision.unwrap_or(device.default_precision());
    let vocab = config.vocab_size;
    let model = Model::random_on(device, config, 1)?;
    let options = TrainOptions { recompute: args.recompute, mtp: true };
    let executor = model.train_executor(sequences * length, options)?;
    let backend = model.backend().clone();
    let grads = backend.buffer(model.layout().total())?;
    let optimizer = backend.optimizer(OptimizerConfig::default(), model.layout(), &model.layout().whole())?;
    let batch = random_batch(vocab, sequences, length);
    let mut bench = Bench { model, executor, grads, optimizer, batch, precision };
    let peak_gflops = (device == Device::Cpu).then(|| roofline::gflops(precision));
    let work = Work::new("training steps", Unit::Count);
    let mut times = Vec::new();
    for step in 0..WARM_UP + args.steps {
        work.set(step as u64, (WARM_UP + args.steps) as u64);
        times.push(bench.step()?);
    }
    times.drain(..WARM_UP);
    // The events of a GPU's profile take time, so it is made in steps of its own.
    bench.executor.start_profile();
    let profiled = (0..PROFILED).map(|_| bench.step()).collect::<Result<Vec<StepTime>>>()?;
    drop(work);
    let (cpu, wall) = (median(times.iter().map(|t| t.cpu)), median(times.iter().map(|t| t.wall)));
    let tokens = (sequences * length) as f64;
    // Attention cost grows with sequence length, everything else with the number of tokens. Backward costs
    // twice as much as forward.
    let gflop = 3.0 * sequences as f64 * bench.executor.program().flops(length) as f64 / 1e9;
    let device_memory_mb = device_memory_mb(&*backend)?;
    Ok(Report {
        network,
        device: device.to_string(),
        precision: precision.name(),
        threads: args.threads,
        parameters: bench.model.layout().count(),
        sequences,
        length,
        steps: args.steps,
        tokens_per_cpu_s: tokens / cpu,
        tokens_per_s: tokens / wall,
        step_ms: wall * 1e3,
        gflop_per_step: gflop,
        gflops: gflop / wall,
        fraction_of_peak: peak_gflops.map(|peak| gflop / cpu / peak),
        peak_gflops,
        peak_rss_mb: peak_rss_mb(),
        device_memory_mb,
        activations_mb: bench.executor.bytes() as f64 / (1 << 20) as f64,
        loss: bench.executor.outputs().losses.next_token,
        profile: profile(&*bench.executor, &profiled),
    })
}

/// Time by op, slowest first.
fn profile(executor: &dyn Executor, steps: &[StepTime]) -> Vec<Entry> {
    let scale = 1e3 / steps.len() as f64;
    let [prepare, update] =
        [|t: &StepTime| t.prepare, |t: &StepTime| t.update].map(|f| steps.iter().map(f).sum::<f64>());
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
    entries.push(Entry { op: "(pack weights)", forward_ms: prepare * scale, backward_ms: 0.0 });
    entries.push(Entry { op: "(clip, AdamW)", forward_ms: 0.0, backward_ms: update * scale });
    entries.sort_by(|a, b| (b.forward_ms + b.backward_ms).total_cmp(&(a.forward_ms + a.backward_ms)));
    entries
}

fn text(r: &Report) -> String {
    let peak = r.peak_gflops.zip(r.fraction_of_peak);
    let peak = peak.map(|(peak, share)| format!("{peak:.0} GFLOP/s ({:.0} % of it by CPU time)", 100.0 * share));
    let on_card = r.device_memory_mb.map(|mb| format!("{mb:.0} MB in use"));
    let mut out = format!(
        "{} on {}, {}, {} thread{}, {} × {} tokens, {:.1} M parameters\n\n",
        r.network,
        r.device,
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
        ("peak of one thread", peak.unwrap_or_default()),
        ("peak memory", format!("{:.0} MB", r.peak_rss_mb)),
        ("memory of the card", on_card.unwrap_or_default()),
        ("activations", format!("{:.0} MB", r.activations_mb)),
        ("loss", format!("{:.4}", r.loss)),
    ] {
        if !value.is_empty() {
            out += &format!("{name:22} {value}\n");
        }
    }
    let unit = if r.device_memory_mb.is_some() { "ms a step" } else { "CPU ms a step" };
    out += &format!("\n{unit:22} {:>12} {:>12}\n", "forward", "backward");
    for e in &r.profile {
        out += &format!("{:22} {:12.2} {:12.2}\n", e.op, e.forward_ms, e.backward_ms);
    }
    out
}
