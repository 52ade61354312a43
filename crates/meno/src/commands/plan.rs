//! `meno plan`: the memory, the traffic and the time of a run on a cluster, computed before it starts.

use crate::arguments::{Threads, threads_of, token_count, with_threads};
use crate::commands::doctor;
use crate::open;
use crate::progress::{Unit, Work};
use anyhow::{Context, Result, bail};
use meno_model::Config;
use meno_model::gguf::Gguf;
use meno_tensor::cuda::cards;
use meno_tensor::device::Device;
use meno_train::plan::device::{PUBLISHED, Published};
use meno_train::plan::{self, Cluster, PlannedRecipe, Speed, probe};
use meno_train::recipe::ModelSection;
use std::path::{Path, PathBuf};

/// Arguments of `meno plan`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The recipe, a TOML file of pretrain, sft, grpo or distill
    recipe: PathBuf,
    /// Model: a Hugging Face directory, which needs no weights, a GGUF file, a config.json alone, or a hub name, which
    /// is fetched (model.path of the recipe)
    #[arg(short, long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Number of nodes
    #[arg(long, value_name = "N", default_value_t = 1)]
    nodes: usize,
    /// GPUs of a node, one for each rank; with `--device cpu` processes of a node
    #[arg(long, value_name = "N", default_value_t = 1)]
    gpus: usize,
    /// Device of a rank: cpu or cuda, whose speed is measured on this machine, or a100, h100, h800 or h200, whose
    /// published figures are used [default: the recipe's]
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Memory of a rank in GiB [default: the device's; on CPUs this machine's, divided by --gpus]
    #[arg(long, value_name = "GiB")]
    memory: Option<f64>,
    /// What a rank sends to other nodes, in GB/s [default: 50, a100 25, cpu 1.25]
    #[arg(long, value_name = "GB/s")]
    bandwidth: Option<f64>,
    /// What a rank sends inside its node, in GB/s [default: NVLink of the device; on CPUs a quarter of the measured
    /// memory bandwidth, divided by --gpus]
    #[arg(long, value_name = "GB/s")]
    node_bandwidth: Option<f64>,
    /// Time of a message in addition to its bytes, in microseconds
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 20.0)]
    latency: f64,
    /// Share of the communication that is hidden behind computation, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    overlap: f64,
    /// Share of the peak that computation reaches on a device whose published figures are used [default: 0.4]
    #[arg(long, value_name = "SHARE")]
    mfu: Option<f64>,
    /// Number of ranks that share the routed experts of a layer [default: 1, or all if the recipe sets
    /// train.expert_parallel]
    #[arg(long, value_name = "N")]
    expert_parallel: Option<usize>,
    /// Number of pipeline stages, to compute the layout of the paper; Meno itself has no pipeline
    #[arg(long, value_name = "N", default_value_t = 1)]
    pipeline_parallel: usize,
    /// Mean number of tokens of a sequence, with GRPO of an answer [default: the most that the recipe allows]
    #[arg(long, value_name = "TOKENS", value_parser = token_count)]
    length: Option<usize>,
    #[command(flatten)]
    threads: Threads,
    /// Change a value of the recipe, e.g. --set train.max_tokens=4096 (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `meno plan`.
pub(crate) fn run(args: Args) -> Result<()> {
    let published = args.published()?;
    let recipe = PlannedRecipe::load(&args.recipe, &args.sets(published.is_some()))?;
    let work = recipe.work(config(args.model.as_deref(), recipe.model())?, args.length)?;
    // The numbers of ranks are checked before anything is measured.
    args.cluster(&work, 1.0, 1.0).check(&work)?;
    let speed = args.speed(published, recipe.model().device, &work)?;
    let (bandwidth, node_bandwidth) = match published.or_else(|| card(speed.device)) {
        Some(published) => (published.bandwidth, published.node_bandwidth),
        None if speed.device.has_own_memory() => (50e9, 50e9),
        None => (1.25e9, speed.memory_bandwidth / 4.0),
    };
    let plan = plan::plan(&work, &args.cluster(&work, bandwidth, node_bandwidth), &speed)?;
    match args.json {
        true => println!("{:#}", serde_json::to_value(&plan)?),
        false => print!("{plan}"),
    }
    Ok(())
}

impl Args {
    /// The published figures of `--device`, unless it is measured.
    fn published(&self) -> Result<Option<Published>> {
        let measured = |name: &String| name.parse::<Device>().is_ok();
        let Some(name) = self.device.as_ref().filter(|name| !measured(name)) else { return Ok(None) };
        let found = Published::find(name);
        if found.is_none() {
            let names: Vec<&str> = PUBLISHED.iter().map(|p| p.name).collect();
            bail!("--device {name}: expected cpu, cuda or cuda:N, which are measured, or one of {}", names.join(", "));
        }
        Ok(found)
    }

    /// The changes of the recipe. A recipe that names no precision runs in that of the device.
    fn sets(&self, is_gpu: bool) -> Vec<String> {
        let device = match is_gpu {
            true => Some("cuda".to_owned()),
            false => self.device.clone(),
        };
        let device = device.map(|device| format!("model.device=\"{device}\""));
        device.into_iter().chain(self.set.iter().cloned()).collect()
    }

    fn cluster(&self, work: &plan::Work, bandwidth: f64, node_bandwidth: f64) -> Cluster {
        let all = self.nodes.saturating_mul(self.gpus).checked_div(self.pipeline_parallel).unwrap_or(1);
        Cluster {
            nodes: self.nodes,
            ranks_per_node: self.gpus,
            expert_parallel: self.expert_parallel.unwrap_or(if work.train.expert_parallel { all } else { 1 }),
            pipeline_parallel: self.pipeline_parallel,
            bandwidth: self.bandwidth.map_or(bandwidth, |gb| 1e9 * gb),
            node_bandwidth: self.node_bandwidth.map_or(node_bandwidth, |gb| 1e9 * gb),
            latency: self.latency / 1e6,
            overlap: self.overlap,
        }
    }

    /// The speed of a rank: published, or measured here.
    fn speed(&self, published: Option<Published>, device: Device, work: &plan::Work) -> Result<Speed> {
        let memory = self.memory.map(|gib| gib * (1u64 << 30) as f64);
        if let Some(memory) = memory.filter(|bytes| !(bytes.is_finite() && *bytes > 0.0)) {
            bail!("--memory {}: expected GiB, above 0", memory / (1u64 << 30) as f64);
        }
        let share = |share: f64| share > 0.0 && share <= 1.0;
        if let Some(mfu) = self.mfu.filter(|mfu| !share(*mfu) || published.is_none()) {
            bail!("--mfu {mfu}: expected a share above 0, up to 1, of a device whose published figures are used");
        }
        if let Some(published) = published {
            let speed = published.speed(work.train.precision, self.mfu.unwrap_or(0.4));
            return Ok(Speed { memory: memory.map_or(speed.memory, |bytes| bytes as u64), ..speed });
        }
        let memory = match (memory, device.has_own_memory()) {
            (Some(bytes), _) => bytes as u64,
            (None, true) => open_memory(device)?,
            (None, false) => doctor::total_memory().context("--memory is needed here: the memory is unknown")?,
        };
        let ranks = if device.has_own_memory() { 1 } else { self.gpus };
        let memory = if self.memory.is_some() { memory } else { memory / ranks as u64 };
        let threads = (threads_of(self.threads.count) / ranks).max(1);
        let _work = Work::new("measuring this machine", Unit::Count);
        let speed = with_threads(threads, || probe::measure(work, device, memory))?;
        // Ranks of a node share its memory.
        Ok(Speed { memory_bandwidth: speed.memory_bandwidth / ranks as f64, ..speed })
    }
}

/// The memory of a GPU of this machine.
fn open_memory(device: Device) -> Result<u64> {
    let memory = device.open()?.memory()?;
    memory.map(|[_, total]| total as u64).context("invariant: a GPU has memory")
}

/// The published figures of a GPU of this machine, if they are known.
fn card(device: Device) -> Option<Published> {
    let Device::Cuda(number) = device else { return None };
    let name = cards().ok()?.get(number)?.name.to_lowercase();
    PUBLISHED.into_iter().find(|published| name.contains(published.name))
}

/// The shape of the model, without its weights.
fn config(given: Option<&Path>, section: &ModelSection) -> Result<Config> {
    let name = match (given.or(section.path.as_deref()), &section.config) {
        (Some(path), _) => path,
        (None, Some(config)) => config,
        (None, None) => bail!("the recipe names no model: set model.path or model.config, or name one with -m"),
    };
    let path = open::locate(name)?;
    if path.is_file() && path.extension().is_some_and(|e| e == "json") {
        return Ok(Config::load(&path)?);
    }
    if path.join("config.json").is_file() {
        return Ok(Config::load(&open::headers(&path)?.join("config.json"))?);
    }
    let path = open::model(&path)?;
    Ok(Config::from_value(&path.display().to_string(), Gguf::open(&path)?.config()?)?)
}
