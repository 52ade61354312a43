//! `meno sft`.

use anyhow::Result;

/// Arguments of `meno sft`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs `meno sft`.
pub fn run(_args: Args) -> Result<()> {
    anyhow::bail!("meno sft is not built yet")
}
