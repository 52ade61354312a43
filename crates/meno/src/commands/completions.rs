//! `meno completions`: command-line completion for a shell.

use anyhow::Result;
use clap_complete::Shell;

/// Arguments of `meno completions`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Shell to write the completions for
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Prints the completions of `command`.
pub(crate) fn run(args: Args, mut command: clap::Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "meno", &mut script);
    print!("{}", String::from_utf8_lossy(&script));
    Ok(())
}
