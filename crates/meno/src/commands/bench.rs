//! `meno bench`: measures how fast this machine trains and runs a network, and where the time is spent.

mod grpo;
mod infer;
mod measures;
pub(super) mod preset;
mod train;

use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use meno_tensor::precision::Precision;

/// Arguments of `meno bench`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// Measure training steps on random tokens: forward, backward, clipping and AdamW
    Train(train::Args),
    /// Measure prompt processing and generation, with one sequence and with many
    Infer(infer::Args),
    /// Measure GRPO steps on random questions: sampling, training on the answers, update
    Grpo(grpo::Args),
}

/// Runs `meno bench`.
pub(crate) fn run(args: Args) -> Result<()> {
    match args.what {
        What::Train(args) => train::run(args),
        What::Infer(args) => infer::run(args),
        What::Grpo(args) => grpo::run(args),
    }
}

/// Parses `f32` or `bf16`.
fn precision() -> impl TypedValueParser<Value = Precision> {
    PossibleValuesParser::new(["f32", "bf16"]).try_map(|name| name.parse())
}
