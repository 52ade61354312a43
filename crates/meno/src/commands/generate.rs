//! `meno generate`.

use anyhow::Result;

/// Arguments of `meno generate`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs `meno generate`.
pub fn run(_args: Args) -> Result<()> {
    anyhow::bail!("meno generate is not built yet")
}
