//! `meno bench`: measures how fast this machine trains and runs a network, and where the time is spent.

mod infer;
mod train;

use anyhow::Result;

/// Arguments of `meno bench`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// Measure training steps on random tokens: forward, backward, clipping and AdamW
    Train(train::Args),
    /// Measure prompt processing and generation, with one sequence and with many
    Infer(infer::Args),
}

/// Runs `meno bench`.
pub(crate) fn run(args: Args) -> Result<()> {
    match args.what {
        What::Train(args) => train::run(args),
        What::Infer(args) => infer::run(args),
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Peak memory of this process, in MiB.
fn peak_rss_mb() -> f64 {
    // SAFETY: an all-zero rusage is valid, and getrusage writes to it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let unit = if cfg!(target_os = "macos") { 1.0 } else { 1024.0 };
    usage.ru_maxrss as f64 * unit / (1 << 20) as f64
}
