//! Models split over several files by llama.cpp's `llama-gguf-split`: `NAME-00001-of-00003.gguf` has the metadata, all
//! files have tensors, and each file stores its index.

use super::{Error, Gguf};
use std::path::PathBuf;

/// The index of the file, from 0.
const NUMBER: &str = "split.no";
/// The number of files.
pub(super) const COUNT: &str = "split.count";
/// The total number of tensors in all files.
const TENSORS: &str = "split.tensors.count";

/// Returns the number of files of the model.
pub(super) fn count(file: &Gguf) -> Result<u64, Error> {
    // The name has five digits.
    match file.opt_u64(COUNT)?.unwrap_or(1) {
        n @ 1..100_000 => Ok(n),
        0 => Ok(1),
        n => Err(file.key(COUNT, format!("is {n}, more files than the format allows"))),
    }
}

/// Returns the end of the name of file `i`.
fn suffix(i: u64, count: u64) -> String {
    format!("-{:05}-of-{count:05}.gguf", i + 1)
}

/// Returns the files that follow the first one, `file`.
pub(super) fn others(file: &Gguf) -> Result<Vec<PathBuf>, Error> {
    let count = count(file)?;
    if count == 1 {
        return Ok(Vec::new());
    }
    let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let number = file.opt_u64(NUMBER)?.unwrap_or(0);
    if number != 0 {
        let first = number < count && name.ends_with(&suffix(number, count));
        let first = if first { name.replace(&suffix(number, count), &suffix(0, count)) } else { "the first".into() };
        let what = format!("is {number}: this is file {} of {count}; open {first}", number.saturating_add(1));
        return Err(file.key(NUMBER, what));
    }
    let Some(stem) = name.strip_suffix(&suffix(0, count)) else {
        let what = format!(
            "is {count}, but the name does not end with `{}`, which is how the other files are found; rename it back",
            suffix(0, count)
        );
        return Err(file.key(COUNT, what));
    };
    Ok((1..count).map(|i| file.path.with_file_name(format!("{stem}{}", suffix(i, count)))).collect())
}

/// Rejects a model if some of its files are not in the directory of the first.
pub(super) fn check_present(first: &Gguf, others: &[PathBuf]) -> Result<(), Error> {
    let missing: Vec<&PathBuf> = others.iter().filter(|path| !path.exists()).collect();
    let Some(next) = missing.first() else { return Ok(()) };
    let what = format!(
        "it is the first of {} files, but {} of them are missing from its directory ({} is the first); fetch all of \
         them",
        others.len() + 1,
        missing.len(),
        next.file_name().unwrap_or_default().to_string_lossy()
    );
    Err(Error::Malformed { path: first.path.clone(), what })
}

/// Checks that `other` is file `i` of the model whose first file is `first`.
pub(super) fn check_part(first: &Gguf, other: &Gguf, i: usize) -> Result<(), Error> {
    for (key, expected) in [(NUMBER, i as u64), (COUNT, count(first)?)] {
        let found = other.u64(key)?;
        if found != expected {
            let first = first.path.display();
            return Err(other.key(key, format!("is {found}, expected {expected} as the continuation of {first}")));
        }
    }
    Ok(())
}

/// Checks that all tensors have been found.
pub(super) fn check_count(file: &Gguf) -> Result<(), Error> {
    let found = file.tensors().len() as u64;
    match file.opt_u64(TENSORS)? {
        Some(expected) if expected != found && file.parts.len() > 1 => {
            Err(file.key(TENSORS, format!("is {expected}, but the files have {found} tensors")))
        }
        _ => Ok(()),
    }
}
