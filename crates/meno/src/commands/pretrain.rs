//! `meno pretrain`.

use anyhow::Result;

/// Arguments of `meno pretrain`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs `meno pretrain`.
pub fn run(_args: Args) -> Result<()> {
    anyhow::bail!("meno pretrain is not built yet")
}
