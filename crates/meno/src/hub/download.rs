//! Downloads one file from the hub into the cache. Existing data is kept, and an interrupted transfer
//! continues. A file gets its final name only if it has the listed digest.

use super::client::Client;
use super::error::Error;
use super::part::Part;
use super::progress::Meter;
use super::repo_info::RepoFile;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;
use ureq::http::StatusCode;

/// Consecutive attempts that may bring no data.
const ATTEMPTS: u32 = 5;
/// Bytes per read.
const CHUNK: usize = 1 << 18;
/// Interval between two attempts to lock a file.
const LOCK_PERIOD: Duration = Duration::from_millis(100);

/// The source of a file.
pub(super) struct Source<'a> {
    /// The hub.
    pub client: &'a Client,
    /// The repository, `ORG/NAME`.
    pub repo_id: &'a str,
    /// The commit.
    pub commit: &'a str,
    /// The file.
    pub file: &'a RepoFile,
}

impl Source<'_> {
    /// The file, for messages.
    fn name(&self) -> String {
        format!("{}/{}", self.repo_id, self.file.name)
    }
}

/// Downloads a file to `blob`.
pub(super) fn download(source: &Source<'_>, blob: &Path, meter: &mut Meter<'_>) -> Result<(), Error> {
    let file = source.file;
    let is_there = || blob.metadata().is_ok_and(|m| m.len() == file.size);
    meter.begin(file)?;
    if is_there() {
        return meter.skip(file.size);
    }
    let directory = blob.parent().unwrap_or(blob);
    std::fs::create_dir_all(directory).map_err(Error::io(directory))?;
    let _lock = lock(blob, meter)?;
    if is_there() {
        return meter.skip(file.size); // another process downloaded it while this one waited
    }
    let mut part = Part::open(file, blob)?;
    meter.skip(part.have)?;
    let resumed = part.have > 0;
    transfer(source, &mut part, meter)?;
    if part.digest() != file.digest && resumed {
        // The part left by an earlier run may have been wrong: download the entire file again.
        meter.again(part.have);
        part.restart()?;
        transfer(source, &mut part, meter)?;
    }
    let found = part.digest();
    if found != file.digest {
        part.remove();
        return Err(Error::DigestMismatch { file: source.name(), found, expected: file.digest.clone() });
    }
    part.keep(blob)
}

/// Reads the rest of the file, over as many connections as necessary.
fn transfer(source: &Source<'_>, part: &mut Part, meter: &mut Meter<'_>) -> Result<(), Error> {
    let size = source.file.size;
    let mut failures = 0;
    while part.have < size {
        let before = part.have;
        let result = attempt(source, part, meter);
        let broken = match result {
            Ok(()) if part.have >= size => return Ok(()),
            Ok(()) => None,
            Err(error @ Error::Unreachable { .. }) => Some(error),
            Err(error @ Error::Io { .. }) => return Err(interrupted(source, part.have, error)),
            Err(error) => return Err(error),
        };
        failures = match (&broken, part.have > before) {
            (None, true) => 0,
            (Some(_), true) => 1,
            (_, false) => failures + 1,
        };
        if failures >= ATTEMPTS {
            return Err(match broken {
                Some(error) => interrupted(source, part.have, error),
                None => Error::Truncated { file: source.name(), received: part.have, size },
            });
        }
        // A tenth of a second, doubled for every further failure.
        sleep(Duration::from_millis(100 << failures));
    }
    Ok(())
}

fn interrupted(source: &Source<'_>, received: u64, error: Error) -> Error {
    Error::Interrupted { file: source.name(), received, source: Box::new(error) }
}

/// Reads from one connection. If it ends early, the caller sees that from the part's length.
fn attempt(source: &Source<'_>, part: &mut Part, meter: &mut Meter<'_>) -> Result<(), Error> {
    let response = source.client.file(source.repo_id, source.commit, &source.file.name, part.have)?;
    let start = match response.status() {
        StatusCode::PARTIAL_CONTENT => range_start(&response),
        StatusCode::RANGE_NOT_SATISFIABLE => None,
        _ => Some(0),
    };
    if start != Some(part.have) {
        // The server does not resume from that position: read the entire file again.
        meter.again(part.have);
        part.restart()?;
        if start != Some(0) {
            return Ok(());
        }
    }
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; CHUNK];
    while part.have < source.file.size {
        let room = (source.file.size - part.have).min(CHUNK as u64) as usize;
        let read = match body.read(&mut buffer[..room]) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => return Err(source.client.broken(&e)),
        };
        part.write(&buffer[..read])?;
        meter.add(read as u64)?;
    }
    Ok(())
}

/// The first byte of `Content-Range: bytes 5-9/10`.
fn range_start(response: &ureq::http::Response<ureq::Body>) -> Option<u64> {
    let range = response.headers().get("content-range")?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

/// Waits until no other process downloads this file; Python's `huggingface_hub` uses the same lock file,
/// `.locks/REPOSITORY/DIGEST.lock`. The lock ends with the returned file.
fn lock(blob: &Path, meter: &mut Meter<'_>) -> Result<File, Error> {
    let mut up = blob.ancestors().skip(2);
    let (repo, root) = (up.next().and_then(Path::file_name), up.next());
    let directory = root.unwrap_or(blob).join(".locks").join(repo.unwrap_or_default());
    let path = directory.join(format!("{}.lock", blob.file_name().unwrap_or_default().to_string_lossy()));
    std::fs::create_dir_all(&directory).map_err(Error::io(&path))?;
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(Error::io(&path))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => meter.waiting()?,
            Err(TryLockError::Error(e)) => return Err(Error::io(&path)(e)),
        }
        sleep(LOCK_PERIOD);
    }
}
