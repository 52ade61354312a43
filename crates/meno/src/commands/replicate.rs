//! `meno replicate`.

use anyhow::Result;

/// Arguments of `meno replicate`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs `meno replicate`.
pub fn run(_args: Args) -> Result<()> {
    anyhow::bail!("meno replicate is not built yet")
}
