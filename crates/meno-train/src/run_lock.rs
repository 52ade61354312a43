//! One process at a time in the directory of a run: two would overwrite each other's checkpoints.
//!
//! The lock is the kernel's, on the file `run.lock`, and ends with its process however that ends. Children do not inherit
//! it, so what a killed run leaves behind (a reward's program, a sandbox) does not hold it.

use crate::error::Error;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

/// The file's name in the directory of the run.
pub const FILE: &str = "run.lock";

/// The right to write to the directory of a run, until it is dropped.
#[derive(Debug)]
pub struct RunLock {
    path: PathBuf,
    _file: File,
}

impl RunLock {
    /// Locks `dir`, which must exist, or says which process holds it.
    pub fn acquire(dir: &Path) -> Result<RunLock, Error> {
        let path = dir.join(FILE);
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let file = options.open(&path).map_err(Error::io(&path))?;
            if let Some(pid) = held_by(&file).map_err(Error::io(&path))? {
                let message = format!("process {pid} works in this directory: wait until it ends, or choose another");
                return Err(Error::Checkpoint { path: dir.to_owned(), message });
            }
            // The one that held it may have removed the file after it was opened here.
            if is_at(&file, &path).map_err(Error::io(&path))? {
                return Ok(RunLock { path, _file: file });
            }
        }
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // While it is still held. A file that stays behind, after a kill, is no lock.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Locks the file; the process that holds it if another does. A record lock of POSIX, not `flock`: a child of this
/// process would keep the latter.
#[cfg(unix)]
fn held_by(file: &File) -> std::io::Result<Option<i32>> {
    use nix::errno::Errno;
    use nix::fcntl::{FcntlArg, fcntl};
    let mut lock = nix::libc::flock {
        l_type: nix::libc::F_WRLCK as _,
        l_whence: nix::libc::SEEK_SET as _,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    match fcntl(file, FcntlArg::F_SETLK(&lock)) {
        Ok(_) => Ok(None),
        Err(Errno::EACCES | Errno::EAGAIN) => {
            fcntl(file, FcntlArg::F_GETLK(&mut lock))?;
            Ok(Some(lock.l_pid))
        }
        Err(e) => Err(e.into()),
    }
}

#[cfg(not(unix))]
fn held_by(file: &File) -> std::io::Result<Option<u32>> {
    match file.try_lock() {
        Ok(()) => Ok(None),
        Err(std::fs::TryLockError::WouldBlock) => Ok(Some(0)),
        Err(std::fs::TryLockError::Error(e)) => Err(e),
    }
}

/// Whether the open file is the one with this name.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let open = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(named) => Ok((open.dev(), open.ino()) == (named.dev(), named.ino())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> std::io::Result<bool> {
    path.try_exists()
}
