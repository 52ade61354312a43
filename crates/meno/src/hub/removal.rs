//! Removes models from the cache. Nothing outside the cache is removed: removal never follows a link.

use super::cache::{Cache, CachedRepo, entries, files};
use super::cached_model::{CachedModel, of_repository};
use super::error::Error;
use super::model_name::ModelName;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Everything that the removal of one model deletes. Nothing is deleted before [`run`](Removal::run).
#[derive(Debug, Default)]
#[must_use]
pub struct Removal {
    /// A readable description of what it removes.
    pub what: String,
    /// Bytes that are freed.
    pub bytes: u64,
    /// Links and files first, then the directories that become empty.
    paths: Vec<PathBuf>,
    directories: Vec<PathBuf>,
    root: PathBuf,
}

impl Cache {
    /// Determines what removing `name` deletes. Without a quantization and a commit that is all of the repository;
    /// content that another model of the cache uses stays. A commit may be shortened to four digits.
    ///
    /// # Errors
    ///
    /// [`Error::NotCached`] if the cache does not hold the model, [`Error::NotADirectory`] if its place in the cache is
    /// a link.
    pub fn removal(&self, name: &ModelName) -> Result<Removal, Error> {
        let repo = self.repo(&name.repo_id);
        let (quant, commit) = (name.quantization.as_deref(), name.revision.as_deref());
        let not_cached = |others: Vec<String>| Error::NotCached {
            name: name.to_string(),
            cache: self.directory().to_owned(),
            others,
        };
        match repo.directory.symlink_metadata() {
            Err(_) => return Err(not_cached(Vec::new())),
            Ok(m) if !m.is_dir() => return Err(Error::NotADirectory { path: repo.directory }),
            Ok(_) => {}
        }
        let whole = || Ok(Removal::of_repository(&name.repo_id, &repo, self.directory()));
        if quant.is_none() && commit.is_none() {
            return whole();
        }
        let all = of_repository(&name.repo_id, &repo);
        let is_meant = |m: &&CachedModel| {
            let same = |q: &str| m.quantization.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(q));
            let version = |c: &str| c.len() >= 4 && m.revision.starts_with(c);
            quant.is_none_or(same) && commit.is_none_or(version) && !m.revision.is_empty()
        };
        let meant: Vec<&CachedModel> = all.iter().filter(is_meant).collect();
        if meant.is_empty() {
            let names: BTreeSet<&String> = all.iter().map(|m| &m.name).collect();
            return Err(not_cached(names.into_iter().cloned().collect()));
        }
        if meant.len() == all.len() {
            return whole();
        }
        let mut removal = Removal { what: name.to_string(), root: self.directory().to_owned(), ..Removal::default() };
        let mut gone: BTreeSet<PathBuf> = meant.iter().flat_map(|m| m.files.iter().cloned()).collect();
        if quant.is_none() {
            // Removing a commit removes all its files.
            let snapshots: BTreeSet<PathBuf> = meant.iter().map(|m| repo.snapshot(&m.revision)).collect();
            for snapshot in snapshots {
                gone.extend(files(&snapshot).into_iter().map(|f| snapshot.join(f)));
                removal.directories.push(snapshot);
            }
        }
        removal.take(&repo.directory, gone);
        Ok(removal)
    }
}

impl Removal {
    /// Removes an entire repository, including the lock files with which processes wait for each other.
    fn of_repository(repo_id: &str, repo: &CachedRepo, root: &Path) -> Removal {
        let locks = root.join(".locks").join(repo.directory.file_name().unwrap_or_default());
        let what = format!("{repo_id}, all files");
        let mut removal = Removal { what, root: root.to_owned(), ..Removal::default() };
        removal.take_tree(&repo.directory);
        removal.take_tree(&locks);
        removal
    }

    /// Adds links of snapshots, and the blobs that no other link uses.
    fn take(&mut self, directory: &Path, gone: BTreeSet<PathBuf>) {
        let blobs = directory.join("blobs");
        let inside = blobs.canonicalize().ok();
        let mut used: BTreeSet<PathBuf> = BTreeSet::new();
        for snapshot in entries(&directory.join("snapshots")) {
            for file in files(&snapshot).into_iter().map(|f| snapshot.join(f)).filter(|f| !gone.contains(f)) {
                used.extend(file.canonicalize());
            }
        }
        for file in gone {
            let is_link = file.symlink_metadata().is_ok_and(|m| m.is_symlink());
            let blob = file.canonicalize().ok().filter(|_| is_link);
            // A link that leads out of the cache is removed; its target stays.
            if let Some(blob) = blob.filter(|b| b.parent() == inside.as_deref() && !used.contains(b)) {
                self.take_file(blob);
            }
            self.take_file(file);
        }
    }

    fn take_file(&mut self, path: PathBuf) {
        if self.paths.contains(&path) {
            return;
        }
        self.bytes += path.symlink_metadata().map_or(0, |m| if m.is_file() { m.len() } else { 0 });
        self.paths.push(path);
    }

    /// Adds a directory with its entire contents; links in it are removed, not followed.
    fn take_tree(&mut self, directory: &Path) {
        if !directory.symlink_metadata().is_ok_and(|m| m.is_dir()) {
            return;
        }
        self.directories.push(directory.to_owned());
        for path in entries(directory) {
            if path.symlink_metadata().is_ok_and(|m| m.is_dir()) { self.take_tree(&path) } else { self.take_file(path) }
        }
    }

    /// Performs the removal.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if a file cannot be removed; those before it are removed.
    pub fn run(self) -> Result<(), Error> {
        for path in &self.paths {
            match std::fs::remove_file(path) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::io(path)(e)),
                _ => {}
            }
        }
        // Inner directories first. A directory with other contents stays.
        let above = self.paths.iter().flat_map(|p| p.ancestors().skip(1)).filter(|p| p.starts_with(&self.root));
        let mut directories: BTreeSet<&Path> = above.filter(|p| *p != self.root).collect();
        directories.extend(self.directories.iter().map(PathBuf::as_path));
        for directory in directories.into_iter().rev() {
            let _ = std::fs::remove_dir(directory);
        }
        Ok(())
    }
}
