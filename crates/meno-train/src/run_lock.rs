//! Allows one process at a time in a run directory, because two would overwrite each other's checkpoints.
//!
//! It is a kernel lock on the file `run.lock`, and it is released when its process ends for any reason. Children do not
//! inherit it, so processes that a killed run leaves behind (a reward's program, a sandbox) do not hold it.

use crate::error::Error;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

/// The file's name in the run directory.
pub const FILE: &str = "run.lock";

/// Exclusive write access to a run directory, until it is dropped.
#[derive(Debug)]
pub struct RunLock {
    path: PathBuf,
    _file: File,
}

impl RunLock {
    /// Locks `dir`, which must exist. If it is locked, the error names the process that holds the lock.
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
            // The previous owner may have removed the file after it was opened here.
            if is_at(&file, &path).map_err(Error::io(&path))? {
                return Ok(RunLock { path, _file: file });
            }
        }
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // Remove the file while the lock is still held. A file left behind by a kill is not a lock.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Locks the file, or returns the process that holds the lock. It is a POSIX record lock, not `flock`, because children
/// of this process would keep the latter.
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

/// Returns true if the open file is the one at `path`.
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
