//! Lists and removes the contents of the cache. Nothing outside the cache is read or removed: links are
//! examined, and removal never follows them.

use super::cache;
use super::name::Name;
use super::select;
use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A model in the cache: a GGUF file (with its parts), or a checkpoint at one commit.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Stored {
    /// The name that `-m` and `meno rm` accept: `ORG/NAME` or `ORG/NAME:QUANT`, with `@COMMIT` if it is not
    /// the newest.
    pub name: String,
    /// The format of the weights, as far as file names and config show it.
    pub quantisation: Option<String>,
    /// Total bytes of its files.
    pub bytes: u64,
    /// The last time one of its files was read or written, in seconds since 1970.
    pub last_used: u64,
    /// Its path.
    pub path: PathBuf,
    /// The commit.
    pub revision: String,
    /// True if all files are there.
    pub complete: bool,
    #[serde(skip)]
    files: Vec<PathBuf>,
}

/// Everything that one command removes.
#[derive(Debug, Default)]
pub(crate) struct Removal {
    /// A readable description of what it removes.
    pub what: String,
    /// Bytes that are freed.
    pub bytes: u64,
    /// Links and files first, then the directories that become empty.
    paths: Vec<PathBuf>,
    directories: Vec<PathBuf>,
    root: PathBuf,
}

/// All models in the cache, by name.
pub(super) fn all() -> Result<Vec<Stored>> {
    let root = cache::root()?;
    let mut found = Vec::new();
    for (repo, directory) in repositories(&root)? {
        found.extend(of_repository(&repo, &directory)?);
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Total bytes in the cache, including unfinished downloads.
pub(super) fn bytes() -> Result<u64> {
    let root = cache::root()?;
    let blobs = repositories(&root)?.into_iter().flat_map(|(_, directory)| entries(&directory.join("blobs")));
    Ok(blobs.filter_map(|path| path.symlink_metadata().ok()).map(|m| m.len()).sum())
}

/// The repositories: their names and directories. A link in the cache does not count as a repository.
fn repositories(root: &Path) -> Result<Vec<(String, PathBuf)>> {
    let list = match std::fs::read_dir(root) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        list => list.with_context(|| root.display().to_string())?,
    };
    let mut found = Vec::new();
    for entry in list.flatten() {
        let name = entry.file_name();
        let Some(repo) = name.to_str().and_then(|n| n.strip_prefix("models--")) else { continue };
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            found.push((repo.replace("--", "/"), entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory).into_iter().flatten().flatten().map(|e| e.path()).collect()
}

/// The models of a repository, at every cached commit.
fn of_repository(repo: &str, directory: &Path) -> Result<Vec<Stored>> {
    let newest = std::fs::read_to_string(directory.join("refs/main")).unwrap_or_default();
    let mut found = Vec::new();
    for snapshot in entries(&directory.join("snapshots")) {
        let Some(revision) = snapshot.file_name().and_then(|n| n.to_str()).map(str::to_owned) else { continue };
        let at = match revision == newest.trim() {
            true => String::new(),
            false => format!("@{}", revision.get(..8).unwrap_or(&revision)),
        };
        found.extend(of_snapshot(&format!("{repo}\0{at}"), &revision, &snapshot));
    }
    let unfinished: Vec<PathBuf> = entries(&directory.join("blobs"))
        .into_iter()
        .filter(|p| p.extension().is_some_and(|e| e == "incomplete"))
        .collect();
    if !unfinished.is_empty() {
        found.push(stored(repo.to_owned(), None, "", &directory.join("blobs"), unfinished, false));
    }
    Ok(found)
}

/// The models of a snapshot; `name` has a NUL at the position of the quantisation.
fn of_snapshot(name: &str, revision: &str, snapshot: &Path) -> Vec<Stored> {
    let files = cache::files(snapshot);
    let names: Vec<&str> = files.iter().map(String::as_str).collect();
    let mut found: Vec<Stored> = Vec::new();
    for (stem, parts) in select::models(&names) {
        let quant = quantisation(stem);
        let paths: Vec<PathBuf> = parts.iter().map(|p| snapshot.join(p)).collect();
        let name = name.replace('\0', &format!(":{quant}"));
        found.push(stored(name, Some(quant.to_owned()), revision, &paths[0].clone(), paths, true));
    }
    if let Ok(choice) = select::choose(&names, None)
        && choice.first.is_none()
    {
        let paths: Vec<PathBuf> = choice.files.iter().map(|f| snapshot.join(f)).collect();
        let index = snapshot.join(select::INDEX);
        let whole = !index.exists()
            || select::shards(&index).is_ok_and(|shards| shards.iter().all(|s| names.contains(&s.as_str())));
        found.push(stored(name.replace('\0', ""), dtype(snapshot), revision, snapshot, paths, whole));
    }
    found
}

fn stored(
    name: String,
    quantisation: Option<String>,
    revision: &str,
    path: &Path,
    files: Vec<PathBuf>,
    complete: bool,
) -> Stored {
    // The files of a snapshot are links to blobs.
    let about: Vec<Metadata> = files.iter().filter_map(|f| f.metadata().ok()).collect();
    let used = about.iter().flat_map(|m| [m.accessed(), m.modified()]).flatten().max();
    let seconds = |t: SystemTime| t.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    Stored {
        name,
        quantisation,
        bytes: about.iter().map(Metadata::len).sum(),
        last_used: used.map_or(0, seconds),
        path: path.to_owned(),
        revision: revision.to_owned(),
        complete,
        files,
    }
}

/// `Q4_K_M` from `model-Q4_K_M` or `model.q4_k_m`; the entire stem if it does not end in a quantisation.
fn quantisation(stem: &str) -> &str {
    let file = stem.rsplit('/').next().unwrap_or(stem);
    let known = |text: &str| {
        let text = text.to_ascii_uppercase();
        let types = ["Q", "IQ", "TQ", "F", "BF", "FP", "MXFP", "NVFP"];
        types.iter().any(|t| text.strip_prefix(t).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())))
    };
    let last = file.rfind(['-', '.']).map(|at| &file[at + 1..]).filter(|last| known(last));
    // Unsloth's `UD-Q4_K_XL` differs from `Q4_K_XL`.
    match last {
        Some(last) if file[..file.len() - last.len()].ends_with("-UD-") => &file[file.len() - last.len() - 3..],
        Some(last) => last,
        None => file,
    }
}

/// The weight type of a checkpoint, as named by its config.
fn dtype(snapshot: &Path) -> Option<String> {
    let text = meno_model::input::read_text(&snapshot.join("config.json"), meno_model::input::SMALL).ok()?;
    let config: serde_json::Value = serde_json::from_str(&text).ok()?;
    let method = config["quantization_config"]["quant_method"].as_str();
    let found = method.or(config["torch_dtype"].as_str()).or(config["dtype"].as_str())?;
    Some(found.to_owned())
}

/// Determines what removing `name` deletes (`ORG/NAME`, `ORG/NAME:QUANT`, either with `@COMMIT`).
pub(crate) fn removal(text: &str) -> Result<Removal> {
    let (name, commit) = text.split_once('@').map_or((text, None), |(n, c)| (n, Some(c)));
    let name = Name::parse(name)?;
    let root = cache::root()?;
    let directory = root.join(format!("models--{}", name.repo.replace('/', "--")));
    let about = directory.symlink_metadata();
    ensure!(about.is_ok(), "{text}: not in the cache ({}); `meno list` shows what is", root.display());
    ensure!(
        about.is_ok_and(|m| m.is_dir()),
        "{}: is not a directory of the cache; remove it yourself",
        directory.display()
    );
    if name.quant.is_none() && commit.is_none() {
        return Ok(Removal::of_repository(&name.repo, &directory, root));
    }
    let all = of_repository(&name.repo, &directory)?;
    let asked = |s: &&Stored| {
        let quant =
            name.quant.as_ref().is_none_or(|q| s.quantisation.as_ref().is_some_and(|s| s.eq_ignore_ascii_case(q)));
        quant && commit.is_none_or(|c| c.len() >= 4 && s.revision.starts_with(c)) && !s.revision.is_empty()
    };
    let chosen: Vec<&Stored> = all.iter().filter(asked).collect();
    if chosen.is_empty() {
        let has: BTreeSet<&str> = all.iter().map(|s| s.name.as_str()).collect();
        bail!("{text}: not in the cache, which has {}", has.into_iter().collect::<Vec<_>>().join(", "));
    }
    if chosen.len() == all.len() {
        return Ok(Removal::of_repository(&name.repo, &directory, root));
    }
    let whole = name.quant.is_none();
    let mut removal = Removal { what: text.to_owned(), root, ..Removal::default() };
    let mut gone: BTreeSet<PathBuf> = chosen.iter().flat_map(|s| s.files.iter().cloned()).collect();
    if whole {
        // Removing a commit removes all its files.
        let snapshots: BTreeSet<PathBuf> =
            chosen.iter().map(|s| directory.join("snapshots").join(&s.revision)).collect();
        for snapshot in snapshots {
            gone.extend(cache::files(&snapshot).into_iter().map(|f| snapshot.join(f)));
            removal.directories.push(snapshot);
        }
    }
    removal.take(&directory, gone);
    Ok(removal)
}

impl Removal {
    /// Removes an entire repository, including the lock files with which processes wait for each other.
    fn of_repository(repo: &str, directory: &Path, root: PathBuf) -> Removal {
        let locks = root.join(".locks").join(directory.file_name().unwrap_or_default());
        let mut removal = Removal { what: format!("{repo}, all files"), root, ..Removal::default() };
        removal.take_tree(directory);
        removal.take_tree(&locks);
        removal
    }

    /// Adds links of snapshots, and the blobs that no other link uses.
    fn take(&mut self, directory: &Path, gone: BTreeSet<PathBuf>) {
        let blobs = directory.join("blobs");
        let inside = blobs.canonicalize().ok();
        let mut used: BTreeSet<PathBuf> = BTreeSet::new();
        for snapshot in entries(&directory.join("snapshots")) {
            for file in cache::files(&snapshot).into_iter().map(|f| snapshot.join(f)).filter(|f| !gone.contains(f)) {
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
    pub(crate) fn run(self) -> Result<()> {
        for path in &self.paths {
            match std::fs::remove_file(path) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(e).with_context(|| path.display().to_string()),
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

#[cfg(test)]
mod tests {
    use super::quantisation;

    #[test]
    fn a_quantisation_is_the_end_of_a_name() {
        for (stem, quant) in [
            ("qwen2.5-0.5b-instruct-q4_k_m", "q4_k_m"),
            ("SmolLM2-135M-Instruct.Q4_1", "Q4_1"),
            ("BF16/m-BF16", "BF16"),
            ("m-UD-Q4_K_XL", "UD-Q4_K_XL"),
            ("m-IQ3_M", "IQ3_M"),
            ("model-final", "model-final"),
        ] {
            assert_eq!(quantisation(stem), quant);
        }
    }
}
