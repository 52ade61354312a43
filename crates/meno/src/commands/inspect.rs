//! `meno inspect`: describes a checkpoint from its headers only; no weights are read.

mod estimate;
mod listing;
mod memory;
mod show;

use crate::arguments::ModelName;
use crate::open;
use anyhow::{Result, bail};

/// Arguments of `meno inspect`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelName,
    /// List every tensor instead of one line for tensors that differ only by layer or expert
    #[arg(long)]
    tensors: bool,
    /// Estimate the tokens per second that this memory bandwidth allows, for every quantization
    #[arg(long, value_name = "GB/s")]
    bandwidth: Option<f64>,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `meno inspect`.
pub(crate) fn run(args: Args) -> Result<()> {
    let listing = listing::Listing::read(&open::headers(&args.model.or_newest()?)?)?;
    if let Some(bandwidth) = args.bandwidth.filter(|b| !(b.is_finite() && *b > 0.0)) {
        bail!("--bandwidth {bandwidth}: expected gigabytes a second, above 0");
    }
    let estimates = match args.bandwidth.is_some() || listing.computed {
        true => estimate::all(&listing),
        false => Vec::new(),
    };
    let text = match args.json {
        true => {
            let mut json = show::json(&listing)?;
            if !estimates.is_empty() {
                json["computed"] = estimate::json(&estimates, args.bandwidth);
            }
            format!("{json:#}\n")
        }
        false => {
            let mut text = show::text(&listing, args.tensors)?;
            if !estimates.is_empty() {
                estimate::text(&mut text, &estimates, args.bandwidth, show::bytes)?;
            }
            text
        }
    };
    print!("{text}");
    Ok(())
}
