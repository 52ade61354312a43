//! Arguments that all commands share: the model, threads, sizes.

use anyhow::{Context, Result};
use meno_tensor::device::Device;
pub(crate) use meno_train::recipe::size::size;
use std::path::PathBuf;

/// Which model: `MODEL` or `-m MODEL`.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct ModelName {
    /// Model: a Hugging Face directory, a GGUF file, or a hub name, ORG/NAME or ORG/NAME:QUANT [default: the newest
    /// runs/*/r1 of `meno replicate`]
    #[arg(value_name = "MODEL", conflicts_with = "model")]
    positional: Option<PathBuf>,
    /// The same as MODEL
    #[arg(short, long, value_name = "MODEL")]
    model: Option<PathBuf>,
}

impl ModelName {
    /// The model given on the command line, if any.
    pub(crate) fn given(&self) -> Option<&PathBuf> {
        self.positional.as_ref().or(self.model.as_ref())
    }

    /// The model given on the command line, otherwise the newest result of `meno replicate`.
    pub(crate) fn or_newest(&self) -> Result<PathBuf> {
        self.given().cloned().map_or_else(newest_run, Ok)
    }
}

/// The devices of `--device`, for help texts.
pub(crate) const DEVICES: &str = "Device: auto (the CPU), cpu, cuda or cuda:N (an NVIDIA GPU; not yet run on a GPU), \
                                or reference, which checks the others with plain scalar loops (slow)";

/// The device that runs the network.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct DeviceArg {
    #[arg(long, value_name = "NAME", default_value = "auto", help = DEVICES)]
    pub device: Device,
}

/// How many threads compute.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct Threads {
    /// Threads; 0 uses all cores
    #[arg(long = "threads", value_name = "N", default_value_t = 0, value_parser = thread_count)]
    pub count: usize,
}

impl Threads {
    /// Runs `f` with this number of threads.
    pub(crate) fn run<R: Send>(self, f: impl FnOnce() -> R + Send) -> R {
        with_threads(self.count, f)
    }
}

/// The model of the newest finished `meno replicate` run: `runs/*/r1`.
pub(crate) fn newest_run() -> Result<PathBuf> {
    let mut found: Vec<(std::time::SystemTime, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir("runs").into_iter().flatten().flatten() {
        let dir = entry.path().join("r1");
        if let Ok(meta) = std::fs::metadata(dir.join("config.json")) {
            found.push((meta.modified().unwrap_or(std::time::UNIX_EPOCH), dir));
        }
    }
    found.into_iter().max().map(|f| f.1).context(
        "no model given, and there is no runs/*/r1 here: make one with `meno replicate` (minutes), or name a model, \
         e.g. -m path/to/model.gguf or -m ORG/NAME",
    )
}

/// Runs `f` with `threads` threads; 0 means all cores.
pub(crate) fn with_threads<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    // Always runs inside the pool: a call from outside wakes a thread and waits for it, for every op.
    meno_tensor::pool::with_threads(threads_of(threads), f)
}

/// Resolves a requested number of threads; 0 means all cores.
pub(crate) fn threads_of(asked: usize) -> usize {
    if asked == 0 { crate::ranks::threads() } else { asked }
}

/// Parses a number of threads; 0 means all cores.
pub(crate) fn thread_count(text: &str) -> Result<usize, String> {
    const MOST: usize = 1024;
    match text.parse() {
        Ok(n) if n <= MOST => Ok(n),
        _ => Err(format!("expected a whole number from 0 (all cores) to {MOST}")),
    }
}

/// Parses a number of tokens, at least one, in the format of [`size`].
pub(crate) fn token_count(text: &str) -> Result<usize, String> {
    size(text).and_then(|n| if n > 0 { Ok(n) } else { Err("expected 1 or more".into()) })
}

/// Parses a sampling temperature.
pub(crate) fn temperature(text: &str) -> Result<f32, String> {
    number(text, "a number, 0 or more", |t| t >= 0.0)
}

/// Parses a probability above 0.
pub(crate) fn top_p(text: &str) -> Result<f32, String> {
    number(text, "a number above 0 and at most 1", |p| p > 0.0 && p <= 1.0)
}

/// Parses a fraction of a probability.
pub(crate) fn min_p(text: &str) -> Result<f32, String> {
    number(text, "a number from 0 to 1", |p| (0.0..=1.0).contains(&p))
}

/// Parses a whole number, 0 or more.
pub(crate) fn whole(text: &str) -> Result<usize, String> {
    text.trim().parse().map_err(|_| "expected a whole number, 0 or more".into())
}

fn number(text: &str, expected: &str, valid: impl Fn(f32) -> bool) -> Result<f32, String> {
    let number = text.trim().parse().ok().filter(|n: &f32| n.is_finite() && valid(*n));
    number.ok_or_else(|| format!("expected {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_before_anything_is_loaded() {
        assert_eq!((thread_count("0"), thread_count("8")), (Ok(0), Ok(8)));
        assert!(thread_count("-1").is_err() && thread_count("100000").is_err());
        assert_eq!(
            (token_count("8k"), temperature("0"), top_p("1"), min_p("0")),
            (Ok(8192), Ok(0.0), Ok(1.0), Ok(0.0))
        );
        assert!(token_count("0").is_err() && whole("-1").is_err());
        for text in ["-1", "nan", "inf", "hot", ""] {
            assert!(temperature(text).is_err() && top_p(text).is_err() && min_p(text).is_err(), "{text}");
        }
        assert!(top_p("0").is_err() && top_p("1.1").is_err() && min_p("5").is_err());
    }
}
