//! `meno report`: writes the report of a finished `meno replicate` again, without training.

use crate::output;
use anyhow::{Context, Result};
use meno_replicate::{Provenance, Report, provenance};
use std::path::PathBuf;

/// Arguments of `meno report`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The directory of a finished `meno replicate`
    #[arg(value_name = "DIR")]
    run: PathBuf,
    /// Directory for report.html, report.json and report-card.svg [default: DIR]
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Overwrite a report in the directory of --out
    #[arg(long)]
    force: bool,
}

/// Runs `meno report`.
pub(crate) fn run(args: Args) -> Result<()> {
    let command = provenance::command_line(std::env::args());
    let fallback = Provenance::here("", command, env!("CARGO_PKG_VERSION"), env!("MENO_COMMIT"));
    let report = Report::open(&args.run, fallback)?;
    if let Some(out) = &args.out {
        output::files("--out", out, &Report::FILES, args.force)?;
    }
    let out = args.out.unwrap_or(args.run);
    std::fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    report.save(&out)?;
    for line in report.lines() {
        println!("{line}");
    }
    println!("\nThe report: {}", out.join("report.html").display());
    Ok(())
}
