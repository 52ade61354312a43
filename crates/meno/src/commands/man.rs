//! `meno man`: a manual page of every command.

use anyhow::{Context, Result};
use std::path::PathBuf;

/// Arguments of `meno man`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Directory to write the pages to: meno.1, meno-chat.1, …
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
}

/// Writes the pages of `command`.
pub fn run(args: Args, command: clap::Command) -> Result<()> {
    let at = || args.out.display().to_string();
    std::fs::create_dir_all(&args.out).with_context(at)?;
    clap_mangen::generate_to(command.disable_help_subcommand(true), &args.out).with_context(at)?;
    println!("manual pages are in {}; read one with `man {}`", at(), args.out.join("meno.1").display());
    Ok(())
}
