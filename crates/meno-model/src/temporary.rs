//! Files and directories under a temporary name: a written file appears complete or not at all, and an interruption
//! leaves nothing behind.
//!
//! A [`Temporary`] is removed when it is dropped, so an error or a panic leaves no file behind. A signal ends the
//! process without dropping anything; signal handlers must call [`remove_all`] first.

use crate::Error;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The paths that this process is currently writing.
static OPEN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn open() -> MutexGuard<'static, Vec<PathBuf>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file or directory that is being written and does not have its final name yet.
#[derive(Debug)]
pub struct Temporary {
    path: PathBuf,
}

impl Temporary {
    /// Chooses a name in the directory of `path`, on the same file system: `.NAME.PID.tmp`. Nothing is created yet.
    pub fn beside(path: &Path) -> Temporary {
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.tmp", std::process::id()));
        Temporary::at(path.with_file_name(name))
    }

    /// Uses a name chosen by the caller.
    pub fn at(path: PathBuf) -> Temporary {
        open().push(path.clone());
        Temporary { path }
    }

    /// Returns the path to write to.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Renames the file or directory to its final name, replacing a file, or an empty directory, of that name.
    pub fn persist(mut self, to: &Path) -> io::Result<()> {
        let mut open = open();
        std::fs::rename(&self.path, to)?;
        open.retain(|p| *p != self.path);
        // Nothing remains to be removed.
        self.path = PathBuf::new();
        Ok(())
    }

    /// Moves the files of the written directory into `dir`, replacing files of the same names.
    pub fn persist_into(self, dir: &Path) -> io::Result<()> {
        let open = open();
        let move_all = || {
            for entry in std::fs::read_dir(&self.path)? {
                let entry = entry?;
                std::fs::rename(entry.path(), dir.join(entry.file_name()))?;
            }
            Ok(())
        };
        let moved = move_all();
        // The rest of the directory is removed on drop, which takes the lock.
        drop(open);
        moved
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.path.as_os_str().is_empty() {
            return;
        }
        let mut open = open();
        remove(&self.path);
        open.retain(|p| *p != self.path);
    }
}

/// Removes everything that this process is writing. Call it when the process is about to end. Until the result is
/// dropped, no temporary gets its final name and no new one can be created.
pub fn remove_all() -> Removed {
    let open = open();
    open.iter().for_each(|path| remove(path));
    Removed(open)
}

/// A guard: while it exists, nothing is being written.
#[must_use = "files that are created after it is dropped are not removed"]
pub struct Removed(#[allow(dead_code)] MutexGuard<'static, Vec<PathBuf>>);

/// Ignores errors: there is no caller to report them to, and usually the file does not exist yet.
fn remove(path: &Path) {
    let directory = path.symlink_metadata().is_ok_and(|m| m.is_dir());
    let _ = if directory { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
}

/// Replaces `path` by the file that `write` writes under a temporary name in the same directory. A reader sees either
/// the old file or the new one.
pub fn replace(path: &Path, write: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
    let temporary = Temporary::beside(path);
    write(temporary.path())?;
    File::open(temporary.path()).and_then(|f| f.sync_all()).map_err(Error::io(path))?;
    temporary.persist(path).map_err(Error::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn what_is_not_finished_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "old").unwrap();
        let failed = replace(&path, |temporary| {
            std::fs::write(temporary, "half").unwrap();
            Err(Error::malformed(&path, "enough".to_owned()))
        });
        assert!(failed.is_err() && names(dir.path()) == ["file"]);
        let panicked = std::panic::catch_unwind(|| {
            replace(&path, |temporary| {
                std::fs::write(temporary, "half").unwrap();
                panic!("on the way")
            })
        });
        assert!(panicked.is_err() && names(dir.path()) == ["file"]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        replace(&path, |temporary| std::fs::write(temporary, "new").map_err(Error::io(temporary))).unwrap();
        assert_eq!((names(dir.path()), std::fs::read_to_string(&path).unwrap()), (vec!["file".into()], "new".into()));
    }

    #[test]
    fn directories_take_an_empty_place_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let made = || {
            let temporary = Temporary::beside(&dir.path().join("out"));
            std::fs::create_dir(temporary.path()).unwrap();
            std::fs::write(temporary.path().join("x"), "x").unwrap();
            temporary
        };
        std::fs::create_dir(dir.path().join("out")).unwrap();
        made().persist(&dir.path().join("out")).unwrap();
        assert!(made().persist(&dir.path().join("out")).is_err());
        assert_eq!(names(dir.path()), ["out"]);
    }
}
