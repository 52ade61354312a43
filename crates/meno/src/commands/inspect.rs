//! `meno inspect`.

use anyhow::Result;

/// Arguments of `meno inspect`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs `meno inspect`.
pub fn run(_args: Args) -> Result<()> {
    anyhow::bail!("meno inspect is not built yet")
}
