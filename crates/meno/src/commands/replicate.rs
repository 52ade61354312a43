//! `meno replicate`: trains a small R1 through every stage of the paper, and writes a report.

use crate::arguments::{DEVICES, Threads};
use crate::interrupt;
use crate::live::LiveView;
use crate::output::{self, Inputs};
use crate::ranks;
use crate::training;
use anyhow::{Context, Result};
use meno_replicate::{Provenance, Settings, Stage, StageObserver, plan, provenance};
use meno_tensor::device::Device;
use meno_train::Observer;
use meno_train::rollout::Rollout;
use meno_train::time::Time;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// Arguments of `meno replicate`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Directory for models, curves and the report; an interrupted run continues there [default: runs/replicate-seedN]
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Seed of everything random: data, weights, sampling
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// tiny (the whole report, in minutes), small (170 M parameters, for one GPU), smoke (every stage, in seconds), or
    /// your own recipe, a .toml file
    #[arg(long, default_value = "tiny", value_name = "NAME|FILE")]
    preset: String,
    #[arg(long, value_name = "NAME", help = format!("{DEVICES} [default: the preset's]"))]
    device: Option<Device>,
    #[command(flatten)]
    threads: Threads,
    /// Print plain lines instead of the live view
    #[arg(long)]
    plain: bool,
    /// Print the recipe and how long each stage will take, then exit
    #[arg(long)]
    dry_run: bool,
}

/// Runs `meno replicate`.
pub(crate) fn run(args: Args) -> Result<()> {
    let mut settings = Settings::load(&args.preset)?;
    settings.device = args.device.unwrap_or(settings.device);
    if args.dry_run {
        return dry_run(settings, &args);
    }
    let preset = &args.preset;
    drop(settings.device.open().with_context(|| {
        format!("the preset {preset} runs on {}; --device cpu runs it on the CPU", settings.device)
    })?);
    let out = args.out.unwrap_or_else(|| PathBuf::from(format!("runs/replicate-seed{}", args.seed)));
    output::run_directory(&out, &Inputs::default())?;
    let command = provenance::command_line(std::env::args());
    let provenance =
        Provenance::here(&args.preset, command, env!("CARGO_PKG_VERSION"), env!("MENO_COMMIT")).on(settings.device);
    let titles = Stage::ALL.map(Stage::title);
    let title = format!("meno replicate, seed {}", args.seed);
    let mut view = if args.plain { LiveView::plain(&title, &titles) } else { LiveView::new(&title, &titles) };
    interrupt::ask(view.stop.clone());
    let result = {
        let observer = &mut ViewObserver(&mut view);
        args.threads.run(|| meno_replicate::run(settings, args.seed, &out, provenance, observer))
    };
    let stopped = view.stop.load(Ordering::Relaxed);
    drop(view);
    let Some(report) = result? else {
        debug_assert!(stopped, "invariant: only the observer stops a replication");
        eprintln!("stopped; the same command continues from here");
        ranks::exit_stopped();
    };
    println!();
    for line in report.lines() {
        println!("{line}");
    }
    let dir = out.display();
    println!("\n{:.1} minutes. The report: {dir}/report.html, every figure: {dir}/report.json", report.minutes());
    println!("Talk to the result: meno chat -m {dir}/r1");
    Ok(())
}

/// Prints the recipe, with the time of each stage as a comment.
fn dry_run(settings: Settings, args: &Args) -> Result<()> {
    let settings = settings.with_seed(args.seed);
    let plan = training::probing(|| args.threads.run(|| plan::plan(&settings, args.seed)))?;
    println!("{}", toml::to_string(&settings)?);
    let mut time = Time { probe: plan.probe, ..Time::default() };
    Stage::ALL.iter().zip(&plan.stages).for_each(|(stage, seconds)| time.push(stage.title(), *seconds));
    println!("{}", training::commented_time(&time));
    Ok(())
}

/// Shows the events of a replication in the live view.
struct ViewObserver<'a>(&'a mut LiveView);

impl Observer for ViewObserver<'_> {
    fn on_step(&mut self, metrics: &meno_train::Metrics, max_steps: usize) {
        self.0.on_step(metrics, max_steps);
    }
    fn on_progress(&mut self, what: &str, done: usize, total: usize) {
        self.0.on_progress(what, done, total);
    }
    fn on_sampled(&mut self, tokens: usize, seconds: f64) {
        self.0.on_sampled(tokens, seconds);
    }
    fn on_rollouts(&mut self, rollouts: &[Rollout]) {
        self.0.on_rollouts(rollouts);
    }
    fn on_note(&mut self, line: &str) {
        self.0.on_note(line);
    }
    fn on_checkpoint(&mut self, path: &std::path::Path) {
        self.0.on_checkpoint(path);
    }
    fn should_stop(&mut self) -> bool {
        self.0.should_stop()
    }
}

impl StageObserver for ViewObserver<'_> {
    fn begin(&mut self, stage: Stage) {
        self.0.begin(stage.index());
    }
    fn finish(&mut self, result: &str) {
        self.0.finish(result);
    }
    fn plan(&mut self, seconds: &[f64]) {
        self.0.plan(seconds);
    }
    fn skip(&mut self, stage: Stage, result: &str) {
        self.0.skip(stage.index(), result);
    }
}
