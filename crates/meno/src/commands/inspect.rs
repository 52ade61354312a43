//! `meno inspect`: what a checkpoint is, from its headers alone; no weight is read.

mod estimate;
mod listing;
mod memory;
mod show;

use crate::hub;
use anyhow::{Result, bail};
use std::path::PathBuf;

/// Arguments of `meno inspect`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A Hugging Face directory, a .safetensors or .gguf file, a config.json, or ORG/NAME:QUANT of the hub
    model: PathBuf,
    /// List every tensor, instead of one line for those that differ only by layer or expert
    #[arg(long)]
    tensors: bool,
    /// Compute how fast memory of this bandwidth would let it write, in every type (always shown, without speeds, for
    /// a config.json alone)
    #[arg(long, value_name = "GB/s")]
    bandwidth: Option<f64>,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `meno inspect`.
pub fn run(mut args: Args) -> Result<()> {
    args.model = hub::locate(&args.model)?;
    let listing = listing::Listing::read(&args.model)?;
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
