//! What a command creates while it runs: removed again if the command fails before it has a result.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Files and directories that did not exist before, in the order of creation.
#[derive(Debug, Default)]
pub(crate) struct Created {
    paths: Vec<PathBuf>,
}

impl Created {
    /// Creates a directory and its parents.
    pub(crate) fn dir(&mut self, path: &Path) -> Result<()> {
        let missing: Vec<PathBuf> = path.ancestors().take_while(|p| !p.exists()).map(Path::to_owned).collect();
        std::fs::create_dir_all(path).with_context(|| path.display().to_string())?;
        self.paths.extend(missing.into_iter().rev().filter(|p| !p.as_os_str().is_empty()));
        Ok(())
    }

    /// Records a file that the command is going to write.
    pub(crate) fn file(&mut self, path: &Path) {
        if !path.exists() {
            self.paths.push(path.to_owned());
        }
    }

    /// Records a file that was written, even if it was not recorded before.
    pub(crate) fn made(&mut self, path: PathBuf) {
        self.paths.push(path);
    }

    /// Keeps everything in place.
    pub(crate) fn keep(&mut self) {
        self.paths.clear();
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        for path in self.paths.iter().rev() {
            // A directory with other contents stays.
            let _ = if path.is_dir() { std::fs::remove_dir(path) } else { std::fs::remove_file(path) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Created;

    #[test]
    fn only_what_was_created_is_taken_back() {
        let root = tempfile::tempdir().unwrap();
        let (old, new) = (root.path().join("old"), root.path().join("old/a/b"));
        std::fs::create_dir(&old).unwrap();
        std::fs::write(old.join("kept"), "x").unwrap();
        let make = || {
            let mut created = Created::default();
            created.dir(&new).unwrap();
            for file in [new.join("f"), old.join("kept")] {
                created.file(&file);
                std::fs::write(file, "y").unwrap();
            }
            created
        };
        drop(make());
        assert!(!old.join("a").exists() && old.join("kept").exists());
        make().keep();
        assert!(new.join("f").exists());
    }
}
