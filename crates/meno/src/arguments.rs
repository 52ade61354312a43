//! Arguments that every command spells alike: the model, threads, sizes.

use anyhow::{Context, Result};
use std::path::PathBuf;

/// Which model: `MODEL` or `-m MODEL`.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ModelName {
    /// Model: a Hugging Face directory, a GGUF file, or a hub name, ORG/NAME or ORG/NAME:QUANT [default: the newest
    /// runs/*/r1 of `meno replicate`]
    #[arg(value_name = "MODEL", conflicts_with = "model")]
    positional: Option<PathBuf>,
    /// The same as MODEL
    #[arg(short, long, value_name = "MODEL")]
    model: Option<PathBuf>,
}

impl ModelName {
    /// What was named, if anything.
    pub fn given(&self) -> Option<&PathBuf> {
        self.positional.as_ref().or(self.model.as_ref())
    }

    /// What was named, else the newest result of `meno replicate`.
    pub fn or_newest(&self) -> Result<PathBuf> {
        self.given().cloned().map_or_else(newest_run, Ok)
    }
}

/// How many threads compute.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Threads {
    /// Threads; 0 uses all cores
    #[arg(long = "threads", value_name = "N", default_value_t = 0, value_parser = thread_count)]
    pub count: usize,
}

impl Threads {
    /// Runs `f` with them.
    pub fn run<R: Send>(self, f: impl FnOnce() -> R + Send) -> R {
        with_threads(self.count, f)
    }
}

/// The model of the newest finished `meno replicate`: `runs/*/r1`.
pub fn newest_run() -> Result<PathBuf> {
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

/// Runs `f` with this number of threads; 0 is all cores.
pub fn with_threads<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    // Always from inside the pool: a call from outside wakes a thread and waits for it, op after op.
    meno_tensor::pool::with_threads(threads_of(threads), f)
}

/// The number of threads that was asked for; 0 is all cores.
pub fn threads_of(asked: usize) -> usize {
    if asked == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { asked }
}

/// A number of threads; 0 is all cores.
pub fn thread_count(text: &str) -> Result<usize, String> {
    const MOST: usize = 1024;
    match text.parse() {
        Ok(n) if n <= MOST => Ok(n),
        _ => Err(format!("expected a whole number from 0 (all cores) to {MOST}")),
    }
}

/// A number of tokens or bytes: `8192`, or with a suffix `8k`, `1M`, `4G` (powers of 1024).
pub fn size(text: &str) -> Result<usize, String> {
    let wrong = || "expected a whole number, which may end with k, M or G (8k is 8192)".to_owned();
    let lower = text.trim().to_ascii_lowercase();
    let bare = lower.strip_suffix("ib").or(lower.strip_suffix('b')).unwrap_or(&lower);
    let (digits, shift) = match bare.char_indices().last() {
        Some((at, 'k')) => (&bare[..at], 10),
        Some((at, 'm')) => (&bare[..at], 20),
        Some((at, 'g')) => (&bare[..at], 30),
        Some((at, 't')) => (&bare[..at], 40),
        _ => (bare, 0),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let number: usize = digits.parse().ok().filter(|_| plain).ok_or_else(wrong)?;
    number.checked_mul(1 << shift).ok_or_else(|| "the number is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", 0),
            ("8192", 8192),
            ("8k", 8192),
            ("8K", 8192),
            ("1M", 1 << 20),
            ("4G", 4 << 30),
            ("512MiB", 512 << 20),
        ] {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
        for text in ["", "k", "-1", "+1", "1.5k", "8kk", "8 apples", "99999999999999G", "1e3"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert_eq!((thread_count("0"), thread_count("8")), (Ok(0), Ok(8)));
        assert!(thread_count("-1").is_err() && thread_count("100000").is_err());
    }
}
