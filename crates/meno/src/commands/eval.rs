//! `meno eval`.

use anyhow::Result;

/// Arguments of `meno eval`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs `meno eval`.
pub fn run(_args: Args) -> Result<()> {
    anyhow::bail!("meno eval is not built yet")
}
