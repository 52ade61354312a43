//! `meno grpo`.

use anyhow::Result;

/// Arguments of `meno grpo`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs `meno grpo`.
pub fn run(_args: Args) -> Result<()> {
    anyhow::bail!("meno grpo is not built yet")
}
