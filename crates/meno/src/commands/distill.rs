//! `meno distill`.

use anyhow::Result;

/// Arguments of `meno distill`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs `meno distill`.
pub fn run(_args: Args) -> Result<()> {
    anyhow::bail!("meno distill is not built yet")
}
