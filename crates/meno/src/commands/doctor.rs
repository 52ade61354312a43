//! `meno doctor`: reports what this machine has and can do, with advice on problems.

mod gpu;
mod hub;
mod machine;
mod report;
mod sandbox;
mod speed;

use anyhow::{Result, bail};
pub(crate) use machine::total_memory;
use report::{Report, Section};

/// Arguments of `meno doctor`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Shows the features of the processor and the kernels that are chosen for it, memory and its limits, huge pages, disks, \
the hub and its cache, GPUs with their driver, each layer of the sandbox that --sandbox uses to run programs, the \
languages that it can run, and measured speeds next to the speeds that are expected of such a processor and such a \
GPU. On a GPU it also checks that generated and trained tokens have the same bits. Problems come with advice.
The exit code is 1 if --sandbox cannot run programs.")]
pub(crate) struct Args {
    /// Do not measure speeds and do not contact the hub
    #[arg(long)]
    quick: bool,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `meno doctor`.
pub(crate) fn run(args: Args) -> Result<()> {
    let mut report = Report::new(!args.json);
    report.add(about());
    report.add(machine::processor());
    report.add(machine::memory());
    report.add(machine::disks());
    report.add(hub::section(args.quick));
    report.add(gpu::section(args.quick));
    let (sandbox, refusal) = sandbox::section();
    report.add(sandbox);
    if !args.quick {
        report.add(speed::section());
    }
    report.end()?;
    match refusal {
        Some(refusal) => bail!(refusal),
        None => Ok(()),
    }
}

fn about() -> Section {
    let mut s = Section::new("meno", "Meno");
    s.ok("version", "version", format!("{} ({})", env!("CARGO_PKG_VERSION"), env!("MENO_COMMIT")));
    s.ok("system", "system", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH));
    s
}
