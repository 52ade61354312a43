//! `meno rm`: removes models from the cache.

use crate::bytes::bytes;
use anyhow::{Context, Result, anyhow, bail};
use meno::hub::{Cache, Error, Removal};
use std::io::{IsTerminal, Write, stderr, stdin};

/// Arguments of `meno rm`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Removes files only from the cache of hub models. Files that another cached version of the model \
also uses are kept.")]
pub(crate) struct Args {
    /// Models, as `meno list` shows them
    #[arg(value_name = "ORG/NAME[:QUANT]", required = true)]
    models: Vec<String>,
    /// Remove without asking
    #[arg(short, long)]
    yes: bool,
}

/// Runs `meno rm`.
pub(crate) fn run(args: Args) -> Result<()> {
    // Find all models before removing the first one.
    let cache = Cache::from_env()?;
    let removals = args.models.iter().map(|m| removal(&cache, m)).collect::<Result<Vec<_>>>()?;
    for removal in removals {
        let (what, size) = (removal.what.clone(), bytes(removal.bytes));
        if !args.yes && !asked(&format!("remove {what} ({size})? [y/N] "))? {
            eprintln!("kept {what}");
            continue;
        }
        removal.run().with_context(|| format!("cannot remove {what}"))?;
        println!("removed {what}: {size}");
    }
    Ok(())
}

fn removal(cache: &Cache, model: &str) -> Result<Removal> {
    cache.removal(&model.parse()?).map_err(|error| match &error {
        Error::NotCached { others, .. } if others.is_empty() => anyhow!("{error}; `meno list` shows what is"),
        _ => error.into(),
    })
}

/// Asks a question; true if the user answers yes.
fn asked(question: &str) -> Result<bool> {
    if !stdin().is_terminal() {
        bail!(
            "standard input is not a terminal, so there is no question to confirm: use --yes to remove without asking"
        );
    }
    eprint!("{question}");
    stderr().flush()?;
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
