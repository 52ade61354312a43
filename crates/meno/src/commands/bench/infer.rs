//! `meno bench infer`: tokens per second for a prompt and for generation, with one sequence and with many. It
//! works like llama-bench: arbitrary tokens, logits computed at every step. A GPU chooses the most likely token, so
//! that the logits stay there; nothing is sampled on the CPU.

use super::measures::{device_memory_mb, median, peak_rss_mb};
use super::preset::Preset;
use crate::arguments::{DeviceArg, ModelName, thread_count, threads_of, with_threads};
use crate::open;
use crate::progress::{Unit, Work};
use crate::session;
use anyhow::{Result, ensure};
use meno_model::{InferOptions, LoadPrecision, Model};
use meno_tensor::backend::{Executor, OpTime, Pass, Profile};
use meno_tensor::cpu::{cpu_seconds, roofline};
use meno_tensor::kv_cache::{KvCache, KvType};
use meno_tensor::precision::Precision;
use meno_tensor::rng::Rng;
use meno_tensor::sampling::TokenSampling;
use meno_tensor::tape::{Batch, pages};
use serde_json::{Map, Value, json};
use std::time::Instant;

/// Arguments of `meno bench infer`.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelName,
    /// Measure this network with random weights instead of a model
    #[arg(long, value_enum, value_name = "NAME", conflicts_with_all = ["positional", "model"])]
    preset: Option<Preset>,
    /// Tokens of the prompt
    #[arg(long, default_value_t = 512, value_name = "N")]
    prompt: usize,
    /// Tokens that each sequence generates
    #[arg(long = "gen", default_value_t = 64, value_name = "N")]
    generate: usize,
    /// Numbers of concurrent sequences to measure
    #[arg(long, value_delimiter = ',', default_value = "1,8,16,32", value_name = "LIST")]
    sequences: Vec<usize>,
    /// Tokens of each prompt when several sequences generate; a single sequence starts without a prompt
    #[arg(long, default_value_t = 32, value_name = "N")]
    sequence_prompt: usize,
    /// Threads; 0 uses all cores
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = thread_count)]
    threads: usize,
    /// Number format of the matrix products (auto: f32, on a GPU bf16, for matrices that are not quantized)
    #[arg(long, value_parser = session::load_precision(), value_name = "TYPE", default_value = "auto")]
    precision: LoadPrecision,
    #[command(flatten)]
    device: DeviceArg,
    /// Number of measurements; the median is reported
    #[arg(long, default_value_t = 3, value_name = "N")]
    repeat: usize,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `meno bench infer`.
pub(super) fn run(mut args: Args) -> Result<()> {
    args.threads = threads_of(args.threads);
    ensure!(args.prompt > 0 && args.generate > 0, "--prompt and --gen: expected at least 1 token");
    ensure!(args.repeat > 0, "--repeat is 0: expected at least 1");
    for &n in &args.sequences {
        ensure!((1..=4096).contains(&n), "--sequences has {n}: expected 1 to 4096");
    }
    let report = with_threads(args.threads, || measure(&args))?;
    match args.json {
        true => println!("{}", Value::Object(report)),
        false => print!("{}", text(&args, &report)),
    }
    Ok(())
}

/// Loads the model, or builds the preset; returns its name, and the precision of its products.
fn load(args: &Args) -> Result<(String, Model, Precision)> {
    let device = args.device.device;
    match args.preset {
        Some(preset) => {
            let (name, config) = preset.config()?;
            let (_, precision) = args.precision.resolve(device.default_precision());
            Ok((name, Model::random_on(device, config, 1)?, precision))
        }
        None => {
            let path = open::model(&args.model.or_newest()?)?;
            let (model, precision) = session::load(&path, args.precision, device)?;
            Ok((path.display().to_string(), model, precision))
        }
    }
}

/// A running network and the positions of its sequences.
struct Runner {
    model: Model,
    precision: Precision,
    executor: Box<dyn Executor>,
    cache: KvCache,
    rng: Rng,
}

/// CPU seconds and wall-clock seconds.
#[derive(Clone, Copy)]
struct Time {
    cpu: f64,
    wall: f64,
}

impl Runner {
    /// Runs one step: `tokens` more tokens for each of `sequences` sequences that have `past` tokens.
    /// Computes the logits of each sequence's last token.
    fn step(&mut self, sequences: usize, past: usize, tokens: usize) -> Result<()> {
        let (vocab, mut batch) = (self.model.config.vocab_size, Batch::default());
        for slot in 0..sequences {
            let tokens: Vec<u32> = (0..tokens).map(|_| self.rng.below(vocab) as u32).collect();
            let rows = batch.push(&tokens, past, Some(slot));
            match self.model.backend().samples_rows() {
                true => batch.sampled_rows.push((rows.end - 1, TokenSampling::greedy())),
                false => batch.logit_rows.push(rows.end - 1),
            }
        }
        let pass = Pass::new(self.precision, &batch);
        self.executor.forward(&mut *self.model.weights, pass, Some(&mut self.cache))?;
        Ok(())
    }

    /// Runs a prompt, in steps of as many tokens as the executor accepts.
    fn prompt(&mut self, sequences: usize, tokens: usize) -> Result<()> {
        let most = self.executor.program().mode().rows / sequences;
        (0..tokens).step_by(most).try_for_each(|past| self.step(sequences, past, most.min(tokens - past)))
    }

    fn generate(&mut self, sequences: usize, past: usize, tokens: usize) -> Result<()> {
        (past..past + tokens).try_for_each(|past| self.step(sequences, past, 1))
    }

    /// The median time of `repeat` runs of `f`, each after `before`.
    fn time(
        &mut self,
        repeat: usize,
        before: impl Fn(&mut Runner) -> Result<()>,
        f: impl Fn(&mut Runner) -> Result<()>,
    ) -> Result<Time> {
        let times = (0..repeat).map(|_| {
            before(self)?;
            let (wall, cpu) = (Instant::now(), cpu_seconds());
            f(self)?;
            Ok(Time { cpu: cpu_seconds() - cpu, wall: wall.elapsed().as_secs_f64() })
        });
        let times = times.collect::<Result<Vec<Time>>>()?;
        Ok(Time { cpu: median(times.iter().map(|t| t.cpu)), wall: median(times.iter().map(|t| t.wall)) })
    }

    /// Milliseconds per op in one run of `f`: CPU time, or the device's on a GPU.
    fn profile(&mut self, f: impl Fn(&mut Runner) -> Result<()>) -> Result<Vec<(&'static str, f64)>> {
        self.executor.start_profile();
        f(self)?;
        let mut ops: Vec<(&str, f64)> = Vec::new();
        for &OpTime { name: op, forward: seconds, .. } in &self.executor.profile().unwrap_or(&Profile::default()).ops {
            match ops.iter_mut().find(|o| o.0 == op) {
                Some(o) => o.1 += seconds * 1e3,
                None => ops.push((op, seconds * 1e3)),
            }
        }
        Ok(ops)
    }
}

fn measure(args: &Args) -> Result<Map<String, Value>> {
    let (wall, cpu) = (Instant::now(), cpu_seconds());
    let (name, mut model, precision) = load(args)?;
    let work = Work::new("packing weights", Unit::Count);
    model.weights.prepare(precision)?;
    let load = Time { cpu: cpu_seconds() - cpu, wall: wall.elapsed().as_secs_f64() };
    let most = args.sequences.iter().copied().max().unwrap_or(1);
    let many = if most > 1 { args.sequence_prompt } else { 0 };
    let len = args.prompt.max(many + args.generate);
    let context = model.config.max_position_embeddings;
    ensure!(len <= context, "{len} tokens a sequence: the model supports at most {context}");
    let o = InferOptions::default();
    let executor = model.infer_executor(args.prompt.min(512).max(most), o)?;
    let kv_type = KvType::F32.on(args.device.device, precision);
    let mut cache = model.backend().kv_cache(&model.cache_specs(o), kv_type, most * pages(len))?;
    (0..most).for_each(|_| _ = cache.table_mut().open());
    let weights = model.weights.quantized_bytes() + model.weights.bytes();
    let parameters = model.layout().count();
    let on_gpu = args.device.device.has_own_memory();
    let mut r = Runner { model, precision, executor, cache, rng: Rng::new(&[1]) };
    r.prompt(1, args.prompt.min(32))?; // warm up
    let mut report = Map::new();
    let mut put = |key: String, value: Value| report.insert(key, value);
    put("model".into(), json!(name));
    put("device".into(), json!(args.device.device.to_string()));
    put("precision".into(), json!(precision.name()));
    put("threads".into(), json!(args.threads));
    put("parameters".into(), json!(parameters));
    put("weights_mb".into(), json!(weights as f64 / 1e6));
    put("load_cpu_s".into(), json!(load.cpu));
    put("load_s".into(), json!(load.wall));
    work.next(format!("prompt of {} tokens, {} times", args.prompt, args.repeat));
    let t = r.time(args.repeat, |_| Ok(()), |r| r.prompt(1, args.prompt))?;
    put("prompt_tokens_per_s".into(), json!(args.prompt as f64 / t.wall));
    put("prompt_tokens_per_cpu_s".into(), json!(args.prompt as f64 / t.cpu));
    for &n in &args.sequences {
        let plural = if n == 1 { "" } else { "s" };
        work.next(format!("{n} sequence{plural} of {} tokens, {} times", args.generate, args.repeat));
        let (past, suffix) = if n == 1 { (0, String::new()) } else { (many, format!("_{n}")) };
        let t = r.time(args.repeat, |r| r.prompt(n, past), |r| r.generate(n, past, args.generate))?;
        put(format!("gen_tokens_per_s{suffix}"), json!((n * args.generate) as f64 / t.wall));
        put(format!("gen_tokens_per_cpu_s{suffix}"), json!((n * args.generate) as f64 / t.cpu));
    }
    work.next("peaks of the processor and profile");
    if !on_gpu {
        put("peak_int8_gops".into(), json!(roofline::int8_gops()));
        put("peak_read_gb_per_s".into(), json!(roofline::read_gb_per_s()));
    }
    put("peak_rss_mb".into(), json!(peak_rss_mb()));
    if let Some(mb) = device_memory_mb(&**r.model.backend())? {
        put("device_memory_mb".into(), json!(mb));
    }
    let prompt = r.profile(|r| r.prompt(1, args.prompt))?;
    let generated = r.profile(|r| r.generate(1, 0, args.generate))?;
    let ms = |ops: &[(&str, f64)], tokens: usize| -> Map<String, Value> {
        ops.iter().map(|(op, ms)| ((*op).to_owned(), json!(ms / tokens as f64))).collect()
    };
    let clock = if on_gpu { "device" } else { "cpu" };
    put(format!("prompt_{clock}_ms_per_token"), Value::Object(ms(&prompt, args.prompt)));
    put(format!("gen_{clock}_ms_per_token"), Value::Object(ms(&generated, args.generate)));
    Ok(report)
}

fn text(args: &Args, report: &Map<String, Value>) -> String {
    let number = |key: &str| report.get(key).and_then(Value::as_f64).unwrap_or(f64::NAN);
    let word = |key: &str| report.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut out = format!(
        "{} on {}, {}, {} thread{}: {:.1} M parameters in {:.0} MB, loaded in {:.2} s\n\n{:32} {:>12} {:>12}\n",
        word("model"),
        word("device"),
        word("precision"),
        args.threads,
        if args.threads == 1 { "" } else { "s" },
        number("parameters") / 1e6,
        number("weights_mb"),
        number("load_s"),
        "tokens/s",
        "by the clock",
        "by CPU time",
    );
    let mut line = |name: String, key: &str, suffix: &str| {
        let (wall, cpu) = (number(&format!("{key}_per_s{suffix}")), number(&format!("{key}_per_cpu_s{suffix}")));
        out += &format!("{name:32} {wall:12.1} {cpu:12.1}\n");
    };
    line(format!("prompt of {}", args.prompt), "prompt_tokens", "");
    for &n in &args.sequences {
        let (name, suffix) =
            if n == 1 { ("one sequence".into(), String::new()) } else { (format!("{n} sequences"), format!("_{n}")) };
        line(format!("{name}, {} each", args.generate), "gen_tokens", &suffix);
    }
    out += "\n";
    let on_gpu = report.contains_key("device_memory_mb");
    out += &match on_gpu {
        true => format!("memory of the card: {:.0} MB in use; ", number("device_memory_mb")),
        false => format!(
            "one thread at most: {:.0} GOP/s of 8-bit products, {:.1} GB/s read; ",
            number("peak_int8_gops"),
            number("peak_read_gb_per_s")
        ),
    };
    out += &format!("peak memory {:.0} MB\n\n", number("peak_rss_mb"));
    let (clock, title) = if on_gpu { ("device", "ms a token") } else { ("cpu", "CPU ms a token") };
    out += &format!("{title:32} {:>12} {:>12}\n", "prompt", "one sequence");
    let part = |form: &str, op: &str| {
        let ops = report.get(&format!("{form}_{clock}_ms_per_token"));
        ops.and_then(|ops| ops.get(op)).and_then(Value::as_f64).unwrap_or(0.0)
    };
    for op in report[&format!("gen_{clock}_ms_per_token")].as_object().into_iter().flat_map(|o| o.keys()) {
        let (a, b) = (part("prompt", op), part("gen", op));
        out += &format!("{op:32} {a:12.3} {b:12.3}\n");
    }
    out
}
