//! The models in the cache. Links are examined, not followed out of the cache.

use super::cache::{Cache, CachedRepo, entries, files};
use super::error::Error;
use super::select;
use serde::Serialize;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A model in the cache: a GGUF file (with its parts), or a checkpoint at one commit.
#[derive(Clone, Debug, Serialize)]
pub struct CachedModel {
    /// The name that [`Hub::pull`](super::Hub::pull) and [`Cache::removal`] accept: `ORG/NAME` or `ORG/NAME:QUANT`,
    /// with `@COMMIT` if it is not the newest.
    pub name: String,
    /// The format of the weights, as far as file names and config show it.
    #[serde(rename = "quantisation")]
    pub quantization: Option<String>,
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
    pub(super) files: Vec<PathBuf>,
}

impl Cache {
    /// All models in the cache, by name, and unfinished downloads.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the directory of the cache exists but cannot be read.
    pub fn models(&self) -> Result<Vec<CachedModel>, Error> {
        let mut found = Vec::new();
        for (repo_id, repo) in self.repos()? {
            found.extend(of_repository(&repo_id, &repo));
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Total bytes in the cache, including unfinished downloads.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the directory of the cache exists but cannot be read.
    pub fn bytes(&self) -> Result<u64, Error> {
        let blobs = self.repos()?.into_iter().flat_map(|(_, repo)| entries(&repo.directory.join("blobs")));
        Ok(blobs.filter_map(|path| path.symlink_metadata().ok()).map(|m| m.len()).sum())
    }
}

/// The models of a repository, at every cached commit.
pub(super) fn of_repository(repo_id: &str, repo: &CachedRepo) -> Vec<CachedModel> {
    let newest = std::fs::read_to_string(repo.directory.join("refs/main")).unwrap_or_default();
    let mut found = Vec::new();
    for snapshot in entries(&repo.directory.join("snapshots")) {
        let Some(revision) = snapshot.file_name().and_then(|n| n.to_str()).map(str::to_owned) else { continue };
        let at = match revision == newest.trim() {
            true => String::new(),
            false => format!("@{}", revision.get(..8).unwrap_or(&revision)),
        };
        found.extend(of_snapshot(&format!("{repo_id}\0{at}"), &revision, &snapshot));
    }
    let unfinished: Vec<PathBuf> = entries(&repo.directory.join("blobs"))
        .into_iter()
        .filter(|p| p.extension().is_some_and(|e| e == "incomplete"))
        .collect();
    if !unfinished.is_empty() {
        found.push(cached_model(repo_id.to_owned(), None, "", &repo.directory.join("blobs"), unfinished, false));
    }
    found
}

/// The models of a snapshot; `name` has a NUL at the position of the quantization.
fn of_snapshot(name: &str, revision: &str, snapshot: &Path) -> Vec<CachedModel> {
    let files = files(snapshot);
    let names: Vec<&str> = files.iter().map(String::as_str).collect();
    let mut found: Vec<CachedModel> = Vec::new();
    for (stem, parts) in select::models(&names) {
        let quant = quantization(stem);
        let paths: Vec<PathBuf> = parts.iter().map(|p| snapshot.join(p)).collect();
        let name = name.replace('\0', &format!(":{quant}"));
        found.push(cached_model(name, Some(quant.to_owned()), revision, &paths[0].clone(), paths, true));
    }
    if let Ok(choice) = select::choose(&names, None)
        && choice.first.is_none()
    {
        let paths: Vec<PathBuf> = choice.files.iter().map(|f| snapshot.join(f)).collect();
        let index = snapshot.join(select::INDEX);
        let whole = !index.exists()
            || select::shards(&index).is_ok_and(|shards| shards.iter().all(|s| names.contains(&s.as_str())));
        found.push(cached_model(name.replace('\0', ""), dtype(snapshot), revision, snapshot, paths, whole));
    }
    found
}

fn cached_model(
    name: String,
    quantization: Option<String>,
    revision: &str,
    path: &Path,
    files: Vec<PathBuf>,
    complete: bool,
) -> CachedModel {
    // The files of a snapshot are links to blobs.
    let about: Vec<Metadata> = files.iter().filter_map(|f| f.metadata().ok()).collect();
    let used = about.iter().flat_map(|m| [m.accessed(), m.modified()]).flatten().max();
    let seconds = |t: SystemTime| t.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    CachedModel {
        name,
        quantization,
        bytes: about.iter().map(Metadata::len).sum(),
        last_used: used.map_or(0, seconds),
        path: path.to_owned(),
        revision: revision.to_owned(),
        complete,
        files,
    }
}

/// `Q4_K_M` from `model-Q4_K_M` or `model.q4_k_m`; the entire stem if it does not end in a quantization.
fn quantization(stem: &str) -> &str {
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

#[cfg(test)]
mod tests {
    use super::quantization;

    #[test]
    fn a_quantization_is_the_end_of_a_name() {
        for (stem, quant) in [
            ("qwen2.5-0.5b-instruct-q4_k_m", "q4_k_m"),
            ("SmolLM2-135M-Instruct.Q4_1", "Q4_1"),
            ("BF16/m-BF16", "BF16"),
            ("m-UD-Q4_K_XL", "UD-Q4_K_XL"),
            ("m-IQ3_M", "IQ3_M"),
            ("model-final", "model-final"),
        ] {
            assert_eq!(quantization(stem), quant);
        }
    }
}
