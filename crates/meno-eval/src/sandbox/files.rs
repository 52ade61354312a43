//! The file system of a sandbox: read-only views of what the tool needs, the job's files, and nothing else.

use super::inside::Entry;
use super::job::Job;
use super::tools::{SYSTEM, Tool};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Parts of /etc that tools need: the libraries' cache, links to compilers, the time zone.
const ETC: [&str; 5] =
    ["/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime"];

/// Devices. A shared mapping of `/dev/zero` is memory that no limit counts (`calls`), so it is not among them.
const DEVICES: [&str; 4] = ["/dev/null", "/dev/full", "/dev/random", "/dev/urandom"];

/// The entries of a job's file system, parents first. Its files lie at the root; `/work` is the working directory,
/// and `/tmp` and `/dev/shm` lead there.
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
    for (path, bytes) in own(job) {
        tree.entries.push(Entry::File { path: name(Path::new(path))?, bytes: bytes.to_vec() });
    }
    Ok(tree.entries)
}

/// The files of a job, and its input under the name by which programs open it: where there is no /proc, the usual link
/// leads nowhere.
fn own<'a>(job: &'a Job) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    job.files.iter().copied().chain(job.input.map(|input| ("dev/stdin", input)))
}

/// The bytes that a job's own files take.
pub(super) fn size(job: &Job) -> u64 {
    own(job).map(|(_, bytes)| (bytes.len() as u64).next_multiple_of(4096)).sum()
}

/// Where libraries of a tool lie that it would look for beside itself: the loader asks /proc where that is.
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

/// The path of a tool in the sandbox.
pub(super) fn program(tool: &Tool) -> io::Result<CString> {
    name(&tool.path)
}

/// A path for the kernel.
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
    /// The view of a path of the machine, at the same place; nothing if the machine does not have it. A link to a
    /// directory stays one.
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

    /// A directory with its parents.
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
