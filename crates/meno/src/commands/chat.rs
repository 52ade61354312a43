//! `meno chat`.

use anyhow::Result;

/// Arguments of `meno chat`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs `meno chat`.
pub fn run(_args: Args) -> Result<()> {
    anyhow::bail!("meno chat is not built yet")
}
