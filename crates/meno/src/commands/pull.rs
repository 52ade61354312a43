//! `meno pull`: downloads a model from the Hugging Face hub into the cache.

use crate::locate;
use anyhow::Result;

/// Arguments of `meno pull`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Files go to the cache of Python's huggingface_hub ($HF_HUB_CACHE, $HF_HOME/hub or \
~/.cache/huggingface/hub). They are checked against the hub's digests; an interrupted download \
continues where it stopped. $HF_TOKEN gives access to gated and private models, $HF_ENDPOINT names \
a mirror, $HF_HUB_OFFLINE=1 uses the cache only. REVISION is a branch, a tag or a commit instead of the main branch. \
`-m ORG/NAME[:QUANT]` pulls what is missing.")]
pub(crate) struct Args {
    /// Hub name of the model: its safetensors checkpoint or, with QUANT (Q4_K_M, Q8_0, …), its GGUF file of that type
    #[arg(value_name = "ORG/NAME[:QUANT][@REVISION]")]
    model: String,
}

/// Runs `meno pull`.
pub(crate) fn run(args: Args) -> Result<()> {
    println!("{}", locate::pull(&args.model)?.display());
    Ok(())
}
