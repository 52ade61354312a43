//! Reads a question or prompt from standard input.

use anyhow::{Context, Result, ensure};
use std::io::{Read, stdin};

/// Maximum bytes of a question.
const MAX_INPUT: u64 = 64 << 20;

/// Reads all of standard input unchanged.
pub(crate) fn read() -> Result<String> {
    let mut bytes = Vec::new();
    stdin().lock().take(MAX_INPUT + 1).read_to_end(&mut bytes).context("cannot read standard input")?;
    ensure!(
        bytes.len() as u64 <= MAX_INPUT,
        "standard input: is larger than {} MiB, the limit for a prompt",
        MAX_INPUT >> 20
    );
    String::from_utf8(bytes).ok().context("standard input: is not UTF-8 text")
}
