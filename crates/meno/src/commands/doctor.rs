//! `meno doctor`.

use anyhow::Result;
use meno_eval::Error;
use meno_eval::sandbox::{Language, Limits, Sandbox, walls};
use std::path::Path;

/// Arguments of `meno doctor`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Shows each wall of the sandbox that --sandbox needs to run programs, and the compilers and
interpreters that it can use, and what bounds memory and CPU time. What is missing comes with its reason and the way
out. The exit code is 1 if --sandbox would refuse.")]
pub struct Args {}

/// Runs `meno doctor`.
pub fn run(_: Args) -> Result<()> {
    println!("Sandbox of programs (--sandbox)");
    let opened = Sandbox::open(Path::new("python3"), Limits::default());
    let failed = match &opened {
        Err(Error::Wall { wall, .. }) => walls().iter().position(|name| name == wall),
        // Anything else fails before the first wall.
        Err(_) => Some(0),
        Ok(_) => None,
    };
    for (index, name) in walls().iter().enumerate() {
        let mark = match failed {
            Some(failed) if index == failed && matches!(opened, Err(Error::Wall { .. })) => "missing",
            Some(failed) if index >= failed => "not tried",
            _ => "ok",
        };
        println!("  {mark:<9}  {name}");
    }
    let sandbox = opened.inspect_err(|_| println!())?;
    println!(
        "  note       memory and CPU time: limits of each process, and a watch over all, every 50 ms; no control group"
    );
    println!("Languages");
    for language in [Language::Python, Language::Cpp, Language::Rust, Language::JavaScript] {
        match sandbox.path_of(language) {
            Ok(path) => println!("  {:<9}  {language}: {}", "ok", path.display()),
            Err(error) => println!("  {:<9}  {error}", "missing"),
        }
    }
    Ok(())
}
