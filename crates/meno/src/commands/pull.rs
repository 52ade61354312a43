//! `meno pull`: bring a model from the Hugging Face hub into the cache.

use crate::hub;
use anyhow::Result;

/// Arguments of `meno pull`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Files go to the cache that Python's huggingface_hub keeps ($HF_HUB_CACHE, $HF_HOME/hub or
~/.cache/huggingface/hub), are checked against the hub's digests, and go on where they broke off.
$HF_TOKEN opens gated and private models, $HF_ENDPOINT names a mirror, $HF_HUB_OFFLINE=1 stays
with the cache. `-m ORG/NAME[:QUANT]` pulls by itself what the cache does not hold.")]
pub struct Args {
    /// Model: its safetensors checkpoint, or, with QUANT (Q4_K_M, Q8_0, …), that GGUF file of it
    #[arg(value_name = "ORG/NAME[:QUANT]")]
    model: String,
}

/// Runs `meno pull`.
pub fn run(args: Args) -> Result<()> {
    println!("{}", hub::pull(&args.model)?.display());
    Ok(())
}
