//! The cache shared with Python's `huggingface_hub`: `models--ORG--NAME` with `blobs` by digest, `snapshots`
//! of links by commit, and `refs`, which name the commits of branches and tags.

use super::env::{directory, huggingface_home};
use super::error::Error;
use super::model_name::ModelName;
use super::select;
use meno_model::temporary::Temporary;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

/// The directory in which models of the hub are kept. Other programs that use the hub share it.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// The cache in `HF_HUB_CACHE`, `HF_HOME/hub` or `~/.cache/huggingface/hub`. It need not exist.
    ///
    /// # Errors
    ///
    /// [`Error::NoCacheDirectory`] if neither variable is set and there is no home directory.
    pub fn from_env() -> Result<Cache, Error> {
        let home = || Some(huggingface_home()?.join("hub"));
        Cache::new(&directory("HF_HUB_CACHE").or_else(home).ok_or(Error::NoCacheDirectory)?)
    }

    /// The cache in `directory`, which need not exist.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if `directory` is relative and the working directory is unknown.
    pub fn new(directory: &Path) -> Result<Cache, Error> {
        let directory = std::path::absolute(directory).map_err(Error::io(directory))?;
        Ok(Cache { directory })
    }

    /// The directory of the cache.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The cached repositories, `ORG/NAME`, sorted.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the directory of the cache exists but cannot be read.
    pub fn repo_ids(&self) -> Result<Vec<String>, Error> {
        Ok(self.repos()?.into_iter().map(|(repo_id, _)| repo_id).collect())
    }

    /// The path of a model for `TextModel::load`, a file or a directory, if the cache holds all of it. Makes no
    /// request: the model may have a newer version at the hub.
    pub fn find(&self, name: &ModelName) -> Option<PathBuf> {
        let repo = self.repo(&name.repo_id);
        let snapshot = repo.snapshot(&repo.commit(name.revision())?);
        let files = files(&snapshot);
        let names: Vec<&str> = files.iter().map(String::as_str).collect();
        let choice = select::choose(&names, name.quantization.as_deref()).ok()?;
        match choice.first {
            Some(first) => Some(snapshot.join(first)),
            None => {
                let index = snapshot.join(select::INDEX);
                let whole = !index.exists() || select::shards(&index).ok()?.iter().all(|s| names.contains(&s.as_str()));
                whole.then_some(snapshot)
            }
        }
    }

    /// The cached repositories, sorted, with their directories. A link in the cache does not count as a repository.
    pub(super) fn repos(&self) -> Result<Vec<(String, CachedRepo)>, Error> {
        let list = match std::fs::read_dir(&self.directory) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            list => list.map_err(Error::io(&self.directory))?,
        };
        let mut found = Vec::new();
        for entry in list.flatten() {
            let name = entry.file_name();
            let Some(repo) = name.to_str().and_then(|n| n.strip_prefix("models--")) else { continue };
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                found.push((repo.replace("--", "/"), CachedRepo { directory: entry.path() }));
            }
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(found)
    }

    /// The place of a repository in the cache.
    pub(super) fn repo(&self, repo_id: &str) -> CachedRepo {
        CachedRepo { directory: self.directory.join(format!("models--{}", repo_id.replace('/', "--"))) }
    }
}

/// The cached part of a repository.
pub(super) struct CachedRepo {
    /// Its directory.
    pub directory: PathBuf,
}

impl CachedRepo {
    /// The path of the content with this digest.
    pub(super) fn blob(&self, digest: &str) -> PathBuf {
        self.directory.join("blobs").join(digest)
    }

    /// The directory of a commit's files.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.directory.join("snapshots").join(commit)
    }

    /// The commit that a branch or tag had when it was pulled, or the cached commit whose id begins with `revision`.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        match std::fs::read_to_string(self.directory.join("refs").join(revision)) {
            Ok(commit) => Some(commit.trim().to_owned()),
            Err(_) => self.commit_with_prefix(revision),
        }
    }

    /// The cached commit whose id begins with `prefix`.
    pub(super) fn commit_with_prefix(&self, prefix: &str) -> Option<String> {
        let id = (4..=64).contains(&prefix.len()) && prefix.bytes().all(|b| b.is_ascii_hexdigit());
        let commits = entries(&self.directory.join("snapshots")).into_iter().filter(|_| id);
        let names = commits.filter_map(|p| Some(p.file_name()?.to_str()?.to_owned()));
        names.filter(|n| n.starts_with(prefix)).min()
    }

    /// Records `commit` as the head of a branch or tag.
    pub(super) fn set_ref(&self, revision: &str, commit: &str) -> Result<(), Error> {
        let path = self.directory.join("refs").join(revision);
        let write = || {
            std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
            let temporary = Temporary::beside(&path);
            std::fs::write(temporary.path(), commit)?;
            temporary.persist(&path)
        };
        write().map_err(Error::io(&path))
    }
}

/// The paths in a directory; none if it cannot be read.
pub(super) fn entries(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory).into_iter().flatten().flatten().map(|e| e.path()).collect()
}

/// The files of a snapshot whose content exists, by their names in the repository.
pub(super) fn files(snapshot: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![snapshot.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            // A dangling link is neither file nor directory.
            if path.is_dir() {
                left.push(path);
            } else if path.is_file()
                && let Ok(inside) = path.strip_prefix(snapshot)
                && let Some(name) = inside.to_str()
            {
                found.push(name.to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Makes `path` a relative link to `blob`, or a copy if the file system has no links.
pub(super) fn link(blob: &Path, path: &Path) -> Result<(), Error> {
    let is_linked = || path.canonicalize().is_ok_and(|p| blob.canonicalize().is_ok_and(|b| b == p));
    if is_linked() {
        return Ok(());
    }
    let directory = path.parent().unwrap_or(path);
    std::fs::create_dir_all(directory).map_err(Error::io(path))?;
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::io(path)(e)),
        _ => {}
    }
    #[cfg(unix)]
    match std::os::unix::fs::symlink(relative(blob, directory), path) {
        Ok(()) => return Ok(()),
        // Another process was faster. A copy through its link would empty the blob.
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            return if is_linked() { Ok(()) } else { Err(Error::io(path)(e)) };
        }
        Err(_) => {}
    }
    std::fs::copy(blob, path).map(drop).map_err(Error::io(path))
}

/// The relative path from `directory` to `path`, both absolute.
fn relative(path: &Path, directory: &Path) -> PathBuf {
    let (path, directory): (Vec<_>, Vec<_>) = (path.components().collect(), directory.components().collect());
    let same = path.iter().zip(&directory).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n(Component::ParentDir, directory.len() - same);
    up.chain(path[same..].iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative_and_replace_what_stood_there() {
        let dir = tempfile::tempdir().unwrap();
        let blob = dir.path().join("models--a--b/blobs/abc");
        std::fs::create_dir_all(blob.parent().unwrap()).unwrap();
        std::fs::write(&blob, "new").unwrap();
        let path = dir.path().join("models--a--b/snapshots/c0/sub/file.txt");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "old").unwrap();
        for _ in 0..2 {
            link(&blob, &path).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
            assert_eq!(std::fs::read_link(&path).unwrap(), Path::new("../../../blobs/abc"));
        }
        std::fs::remove_file(&blob).unwrap();
        assert_eq!(files(&dir.path().join("models--a--b/snapshots/c0")), Vec::<String>::new());
    }

    #[test]
    fn a_revision_is_a_branch_or_the_beginning_of_a_commit() {
        let dir = tempfile::tempdir().unwrap();
        let repo = Cache::new(dir.path()).unwrap().repo("a/b");
        std::fs::create_dir_all(repo.snapshot("deadbeef00")).unwrap();
        repo.set_ref("main", "c0ffee00").unwrap();
        repo.set_ref("refs/pr/1", "deadbeef00").unwrap();
        for (revision, commit) in [
            ("main", Some("c0ffee00")),
            ("refs/pr/1", Some("deadbeef00")),
            ("deadbeef", Some("deadbeef00")),
            ("dea", None),
            ("v1", None),
        ] {
            assert_eq!(repo.commit(revision).as_deref(), commit, "{revision}");
        }
    }
}
