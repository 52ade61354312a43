//! `meno bench`: how fast this machine trains a network, and where the time goes.

mod train;

use anyhow::Result;

/// Arguments of `meno bench`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// Training steps on random tokens: forward, backward, clipping and AdamW
    Train(train::Args),
}

/// Runs `meno bench`.
pub fn run(args: Args) -> Result<()> {
    match args.what {
        What::Train(args) => train::run(args),
    }
}
