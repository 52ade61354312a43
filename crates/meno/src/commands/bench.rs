//! `meno bench`.

use anyhow::Result;

/// Arguments of `meno bench`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs `meno bench`.
pub fn run(_args: Args) -> Result<()> {
    anyhow::bail!("meno bench is not built yet")
}
