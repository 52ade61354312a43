//! `meno inspect`: what a checkpoint is, from its headers alone; no weight is read.

mod listing;
mod memory;
mod show;

use anyhow::Result;
use std::path::PathBuf;

/// Arguments of `meno inspect`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A Hugging Face directory, a .safetensors or .gguf file, or a config.json
    model: PathBuf,
    /// List every tensor, instead of one line for those that differ only by layer or expert
    #[arg(long)]
    tensors: bool,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `meno inspect`.
pub fn run(args: Args) -> Result<()> {
    let listing = listing::Listing::read(&args.model)?;
    let text = match args.json {
        true => format!("{:#}\n", show::json(&listing)?),
        false => show::text(&listing, args.tensors)?,
    };
    print!("{text}");
    Ok(())
}
