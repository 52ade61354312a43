//! The cache shared with Python's `huggingface_hub`: `models--ORG--NAME` with `blobs` by digest, `snapshots`
//! of links by commit, and `refs`.

use super::name::Name;
use super::select;
use anyhow::{Context, Result};
use hf_hub::{Cache, CacheRepo, Repo};
use std::path::{Component, Path, PathBuf};

/// The cached part of a repository.
pub(super) struct Cached {
    name: Name,
    root: PathBuf,
    directory: PathBuf,
    repo: CacheRepo,
}

/// The cache directory.
pub(super) fn root() -> Result<PathBuf> {
    let set = |key: &str| std::env::var_os(key).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = match set("HF_HUB_CACHE") {
        Some(path) => Cache::new(path),
        None if set("HF_HOME").is_some() || std::env::home_dir().is_some() => Cache::from_env(),
        None => anyhow::bail!("there is no home directory to keep models in: set HF_HOME"),
    };
    std::path::absolute(cache.path()).with_context(|| cache.path().display().to_string())
}

impl Cached {
    /// The cache of the repository `name`, in `HF_HUB_CACHE`, `HF_HOME/hub` or `~/.cache/huggingface/hub`.
    pub(super) fn of(name: &Name) -> Result<Cached> {
        let root = root()?;
        let cache = Cache::new(root.clone());
        let repo = Repo::model(name.repo.clone());
        let directory = root.join(repo.folder_name());
        Ok(Cached { name: name.clone(), root, directory, repo: cache.repo(repo) })
    }

    /// The directory of the entire cache.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The names of all models in the cache.
    pub(super) fn all(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
        let names = entries.map(|e| e.file_name().to_string_lossy().into_owned());
        names.filter_map(|n| Some(n.strip_prefix("models--")?.replacen("--", "/", 1))).collect()
    }

    /// The path of the content with this digest.
    pub(super) fn blob(&self, digest: &str) -> PathBuf {
        self.directory.join("blobs").join(digest)
    }

    /// The directory of a commit's files.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.repo.pointer_path(commit)
    }

    /// Records `commit` as the head of the repository's main branch.
    pub(super) fn set_ref(&self, commit: &str) -> Result<()> {
        self.repo.create_ref(commit).with_context(|| self.directory.join("refs/main").display().to_string())
    }

    /// The model, if the cache holds all of it.
    pub(super) fn find(&self) -> Option<PathBuf> {
        let commit = std::fs::read_to_string(self.directory.join("refs/main")).ok()?;
        let snapshot = self.snapshot(commit.trim());
        let files = files(&snapshot);
        let names: Vec<&str> = files.iter().map(String::as_str).collect();
        let choice = select::choose(&names, self.name.quant.as_deref()).ok()?;
        match choice.first {
            Some(first) => Some(snapshot.join(first)),
            None => {
                let index = snapshot.join(select::INDEX);
                let whole = !index.exists() || select::shards(&index).ok()?.iter().all(|s| names.contains(&s.as_str()));
                whole.then_some(snapshot)
            }
        }
    }
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
pub(super) fn link(blob: &Path, path: &Path) -> Result<()> {
    let at = || path.display().to_string();
    if path.canonicalize().is_ok_and(|p| blob.canonicalize().is_ok_and(|b| b == p)) {
        return Ok(());
    }
    let directory = path.parent().with_context(at)?;
    std::fs::create_dir_all(directory).with_context(at)?;
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).with_context(at),
        _ => {}
    }
    #[cfg(unix)]
    if std::os::unix::fs::symlink(relative(blob, directory), path).is_ok() {
        return Ok(());
    }
    std::fs::copy(blob, path).map(drop).with_context(at)
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
}
