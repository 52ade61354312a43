//! Downloads one file from the hub into the cache. Existing data is kept, and an interrupted transfer
//! continues. A file gets its final name only if it has the listed digest.

use super::remote::{Hub, RemoteFile, Unreachable};
use crate::progress::{Unit, Work, bytes, is_watched};
use anyhow::{Context, Result, bail};
use ring::digest;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::http::StatusCode;

/// Consecutive attempts that may bring no data.
const ATTEMPTS: u32 = 5;
/// Bytes per read.
const CHUNK: usize = 1 << 18;

/// Progress over all files of a model.
pub(super) struct Progress {
    work: Work,
    done: u64,
    total: u64,
}

impl Progress {
    /// Progress towards `total` bytes.
    pub(super) fn new(total: u64) -> Progress {
        Progress { work: Work::new("files", Unit::Bytes), done: 0, total }
    }

    /// Sets a new total when the list of wanted files changes.
    pub(super) fn set_total(&mut self, total: u64) {
        self.total = total;
    }

    fn begin(&self, file: &RemoteFile) {
        self.work.rename(&file.name);
        if !is_watched() {
            self.work.note(&format!("{}  {}", file.name, bytes(file.size)));
        }
    }

    /// Counts bytes that need no transfer; they do not affect the rate.
    fn skip(&mut self, bytes: u64) {
        self.done += bytes;
        self.work.skip(bytes);
        self.work.set(self.done, self.total);
    }

    /// Counts received bytes.
    fn add(&mut self, bytes: u64) {
        self.done += bytes;
        self.work.set(self.done, self.total);
    }

    /// Subtracts bytes that must be transferred again.
    fn again(&mut self, bytes: u64) {
        self.done = self.done.saturating_sub(bytes);
        self.work.again(bytes);
    }
}

/// Downloads `file` of `repo` to `blob`.
pub(super) fn download(
    hub: &Hub,
    repo: &str,
    commit: &str,
    file: &RemoteFile,
    blob: &Path,
    progress: &mut Progress,
) -> Result<()> {
    progress.begin(file);
    let at = || blob.display().to_string();
    if blob.metadata().is_ok_and(|m| m.len() == file.size) {
        progress.skip(file.size);
        return Ok(());
    }
    std::fs::create_dir_all(blob.parent().with_context(at)?).with_context(at)?;
    let _lock = lock(blob, &progress.work)?;
    if blob.metadata().is_ok_and(|m| m.len() == file.size) {
        progress.skip(file.size); // another process downloaded it while this one waited
        return Ok(());
    }
    let mut part = Part::open(file, blob)?;
    progress.skip(part.have);
    let resumed = part.have > 0;
    let source = Source { hub, repo, commit, file };
    transfer(&source, &mut part, progress)?;
    if part.digest()? != file.digest && resumed {
        // The part left by an earlier run may have been wrong: download the entire file again.
        progress.again(part.have);
        part.restart()?;
        transfer(&source, &mut part, progress)?;
    }
    let found = part.digest()?;
    if found != file.digest {
        part.remove();
        bail!(
            "the downloaded file has the digest {found}, but the hub lists {}: it was changed in transit or the server \
             is broken; it was removed, try again",
            file.digest
        );
    }
    part.keep(blob)
}

/// The source of a file.
struct Source<'a> {
    hub: &'a Hub,
    repo: &'a str,
    commit: &'a str,
    file: &'a RemoteFile,
}

/// Reads the rest of the file, over as many connections as necessary.
fn transfer(source: &Source<'_>, part: &mut Part, progress: &mut Progress) -> Result<()> {
    let mut failures = 0;
    while part.have < source.file.size {
        let before = part.have;
        match attempt(source, part, progress) {
            Ok(()) if part.have >= source.file.size => return Ok(()),
            Ok(()) if part.have > before => failures = 0,
            Ok(()) => failures += 1,
            Err(error) => {
                failures = if part.have > before { 1 } else { failures + 1 };
                if !error.is::<Unreachable>() || failures >= ATTEMPTS {
                    let have = bytes(part.have);
                    return Err(error.context(format!("stopped at {have}; the same command continues from there")));
                }
            }
        }
        if failures >= ATTEMPTS {
            bail!("the server sent only {} of {} bytes, repeatedly; try again later", part.have, source.file.size);
        }
        // A tenth of a second, doubled for every further failure.
        std::thread::sleep(Duration::from_millis(100 << failures));
    }
    Ok(())
}

/// Reads from one connection. If it ends early, the caller sees that from the part's length.
fn attempt(source: &Source<'_>, part: &mut Part, progress: &mut Progress) -> Result<()> {
    let response = source.hub.file(source.repo, source.commit, &source.file.name, part.have)?;
    let start = match response.status() {
        StatusCode::PARTIAL_CONTENT => range_start(&response),
        StatusCode::RANGE_NOT_SATISFIABLE => None,
        _ => Some(0),
    };
    if start != Some(part.have) {
        // The server does not resume from that position: read the entire file again.
        progress.again(part.have);
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
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(source.hub.broken(&e).into()),
        };
        part.write(&buffer[..read])?;
        progress.add(read as u64);
    }
    Ok(())
}

/// The first byte of `Content-Range: bytes 5-9/10`.
fn range_start(response: &ureq::http::Response<ureq::Body>) -> Option<u64> {
    let range = response.headers().get("content-range")?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

/// The first part of a file, with the state of its digest.
struct Part {
    path: PathBuf,
    out: File,
    have: u64,
    size: u64,
    /// True if the digest is a Git object id, false if it is SHA-256.
    git: bool,
    context: digest::Context,
}

impl Part {
    fn open(file: &RemoteFile, blob: &Path) -> Result<Part> {
        let path = PathBuf::from(format!("{}.incomplete", blob.display()));
        let out = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let out = out.with_context(|| path.display().to_string())?;
        let git = file.digest.len() == 40;
        let context = context(git, file.size);
        let mut part = Part { path, out, have: 0, size: file.size, git, context };
        part.take_in()?;
        Ok(part)
    }

    /// Reads what an earlier run left, and adds it to the digest.
    fn take_in(&mut self) -> Result<()> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = self.out.read(&mut buffer).with_context(|| self.path.display().to_string())?;
            if read == 0 {
                break;
            }
            self.have += read as u64;
            self.context.update(&buffer[..read]);
        }
        if self.have > self.size { self.restart() } else { Ok(()) }
    }

    fn restart(&mut self) -> Result<()> {
        let at = || self.path.display().to_string();
        self.out.set_len(0).with_context(at)?;
        self.out.seek(SeekFrom::Start(0)).with_context(at)?;
        self.have = 0;
        self.context = context(self.git, self.size);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).with_context(|| self.path.display().to_string())?;
        self.context.update(bytes);
        self.have += bytes.len() as u64;
        Ok(())
    }

    fn digest(&self) -> Result<String> {
        let digest = self.context.clone().finish();
        Ok(digest.as_ref().iter().map(|b| format!("{b:02x}")).collect())
    }

    fn remove(self) {
        // If the file cannot be removed, the next run detects the wrong digest again.
        let _ = std::fs::remove_file(&self.path);
    }

    fn keep(self, blob: &Path) -> Result<()> {
        let at = || blob.display().to_string();
        self.out.sync_all().with_context(at)?;
        std::fs::rename(&self.path, blob).with_context(at)
    }
}

/// The digest the hub lists: Git's object id (SHA-1 of `blob SIZE\0` and the content) or SHA-256.
fn context(git: bool, size: u64) -> digest::Context {
    if !git {
        return digest::Context::new(&digest::SHA256);
    }
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(format!("blob {size}\0").as_bytes());
    context
}

/// Waits until no other process downloads this file; Python's `huggingface_hub` uses the same lock file.
fn lock(blob: &Path, work: &Work) -> Result<File> {
    let mut up = blob.ancestors().skip(2);
    let (repo, root) = (up.next().and_then(Path::file_name), up.next());
    let (Some(repo), Some(root), Some(digest)) = (repo, root, blob.file_name()) else {
        bail!("{}: not a place in a cache", blob.display())
    };
    let directory = root.join(".locks").join(repo);
    let path = directory.join(format!("{}.lock", digest.to_string_lossy()));
    let at = || path.display().to_string();
    std::fs::create_dir_all(&directory).with_context(at)?;
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).with_context(at)?;
    if file.try_lock().is_err() {
        work.note("waiting for another process that pulls the same file");
        file.lock().with_context(at)?;
    }
    Ok(file)
}
