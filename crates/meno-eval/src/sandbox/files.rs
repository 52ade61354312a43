//! The file system of a sandbox: read-only views of what the tool needs, and the job's files.

use super::inside::Entry;
use super::job::Job;
use super::tools::{SYSTEM, Tool};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Parts of /etc that tools need: the library cache, links to compilers, the time zone.
const ETC: [&str; 5] =
    ["/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime"];

/// Devices. `/dev/zero` is excluded, because a shared mapping of it is memory that no limit counts (`calls`).
const DEVICES: [&str; 4] = ["/dev/null", "/dev/full", "/dev/random", "/dev/urandom"];

/// The entries of a job's file system, parents first. The job's files are in the root directory. `/work` is the working
/// directory; `/tmp` and `/dev/shm` are links to it.
pub(super) fn entries(job: &Job) -> io::Result<Vec<Entry>> {
    let mut tree = Tree::default();
    for path in SYSTEM.iter().chain(&ETC).chain(&DEVICES).map(Path::new) {
        tree.add(path)?;
    }
    for path in &job.tool.needs {
        tree.add(path)?;
    }
    for name in ["work", "dev"] {
        tree.directory(Path::new(name))?;
    }
    for (path, target) in [("tmp", "work"), ("dev/shm", "../work")] {
        if tree.made.insert(path.into()) {
            tree.entries.push(Entry::Link { path: name(Path::new(path))?, target: name(Path::new(target))? });
        }
    }
    for (path, bytes) in job_files(job) {
        tree.entries.push(Entry::File { path: name(Path::new(path))?, bytes: bytes.to_vec() });
    }
    Ok(tree.entries)
}

/// The files of a job. Its input appears under the name `/dev/stdin`, which programs open; without /proc, the usual
/// link would dangle.
fn job_files<'a>(job: &'a Job) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    job.files.iter().copied().chain(job.input.map(|input| ("dev/stdin", input)))
}

/// Total size of the job's files in bytes.
pub(super) fn size(job: &Job) -> u64 {
    job_files(job).map(|(_, bytes)| (bytes.len() as u64).next_multiple_of(4096)).sum()
}

/// Directories of libraries that a tool looks for next to its own path. The loader finds that path in /proc, which a
/// sandbox does not have.
pub(super) fn libraries(tool: &Tool) -> Vec<&Path> {
    let is_library = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(".so"));
    let mut directories: Vec<&Path> = Vec::new();
    for path in &tool.needs {
        let directory = match path.is_dir() {
            true => Some(path.as_path()).filter(|path| path.ends_with("lib")),
            false => {
                path.parent().filter(|parent| is_library(path) && !tool.needs.iter().any(|dir| parent.starts_with(dir)))
            }
        };
        directories.extend(directory.filter(|directory| !directories.contains(directory)));
    }
    directories
}

/// The path of a tool inside the sandbox.
pub(super) fn program(tool: &Tool) -> io::Result<CString> {
    name(&tool.path)
}

/// Converts a path for the kernel.
fn name(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// The entries so far, and their paths relative to the root.
#[derive(Default)]
struct Tree {
    entries: Vec<Entry>,
    made: BTreeSet<PathBuf>,
    bound: Vec<PathBuf>,
}

impl Tree {
    /// Adds a read-only view of a path of the machine at the same path. Does nothing if the machine does not have it. A
    /// link to a directory stays a link.
    fn add(&mut self, path: &Path) -> io::Result<()> {
        let Ok(metadata) = path.symlink_metadata() else { return Ok(()) };
        let place = path.strip_prefix("/").unwrap_or(path);
        if self.bound.iter().any(|bound| place.starts_with(bound)) || self.made.contains(place) {
            return Ok(());
        }
        if let Some(parent) = place.parent() {
            self.directory(parent)?;
        }
        self.made.insert(place.to_owned());
        if metadata.is_symlink() && !path.is_file() {
            let target = std::fs::read_link(path)?;
            self.entries.push(Entry::Link { path: name(place)?, target: name(&target)? });
            return Ok(());
        }
        let device = !metadata.is_dir() && !path.is_file();
        let (source, directory) = (name(path)?, metadata.is_dir());
        self.bound.push(place.to_owned());
        self.entries.push(Entry::Bind { path: name(place)?, source, directory, device });
        Ok(())
    }

    /// Adds a directory and its parents.
    fn directory(&mut self, path: &Path) -> io::Result<()> {
        if path.as_os_str().is_empty() || self.bound.iter().any(|bound| path.starts_with(bound)) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.directory(parent)?;
        }
        if self.made.insert(path.to_owned()) {
            self.entries.push(Entry::Directory(name(path)?));
        }
        Ok(())
    }
}
