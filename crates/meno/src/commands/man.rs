//! `meno man`: writes a manual page for every command.

use crate::output;
use anyhow::{Context, Result};
use std::path::PathBuf;

/// Arguments of `meno man`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Directory to write the pages to: meno.1, meno-chat.1, …
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Overwrite pages that already exist
    #[arg(long)]
    force: bool,
}

/// Writes the manual pages of `command`.
pub(crate) fn run(args: Args, command: clap::Command) -> Result<()> {
    let at = || args.out.display().to_string();
    let pages = page_names(&command, "meno");
    output::files("--out", &args.out, &pages, args.force)?;
    std::fs::create_dir_all(&args.out).with_context(at)?;
    // Keep only the part of the version that does not depend on the build machine.
    let command = command.disable_help_subcommand(true).version(env!("CARGO_PKG_VERSION")).long_version(None);
    clap_mangen::generate_to(command, &args.out).with_context(at)?;
    println!("manual pages are in {}; read one with `man {}`", at(), args.out.join("meno.1").display());
    Ok(())
}

/// The file names for a command and its subcommands.
fn page_names(command: &clap::Command, name: &str) -> Vec<String> {
    let within = command.get_subcommands().flat_map(|c| page_names(c, &format!("{name}-{}", c.get_name())));
    [format!("{name}.1")].into_iter().chain(within).collect()
}
