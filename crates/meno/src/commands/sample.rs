//! `meno sample`.

use anyhow::Result;

/// Arguments of `meno sample`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs `meno sample`.
pub fn run(_args: Args) -> Result<()> {
    anyhow::bail!("meno sample is not built yet")
}
