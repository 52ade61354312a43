//! `meno logits`.

use anyhow::Result;

/// Arguments of `meno logits`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs `meno logits`.
pub fn run(_args: Args) -> Result<()> {
    anyhow::bail!("meno logits is not built yet")
}
