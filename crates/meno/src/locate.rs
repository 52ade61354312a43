//! The path of a model: a local path, or a model of the hub, which is downloaded if the cache lacks it.

use crate::bytes::bytes;
use crate::nearest::{absent, nearest};
use crate::progress::{Unit, Work, is_watched};
use anyhow::{Context, Result, anyhow, bail, ensure};
use meno::hub::{Cache, Error, Hub, ModelName, Progress};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// The file or directory of a model: an existing path, or a model of the hub, which is downloaded if the
/// cache does not hold all of it.
pub(crate) fn locate(model: &Path) -> Result<PathBuf> {
    if model.try_exists().with_context(|| model.display().to_string()).or_else(not_a_directory)? {
        return Ok(model.to_owned());
    }
    // A name with the extension of a weight file is a path.
    let file = model.extension().is_some_and(|e| e == "gguf" || e == "safetensors" || e == "json");
    let name = model.to_str().filter(|_| !file).and_then(|text| text.parse::<ModelName>().ok());
    let Some(name) = name else { bail!("{} (models of the hub are named ORG/NAME or ORG/NAME:QUANT)", absent(model)) };
    if let Some(path) = Cache::from_env()?.find(&name) {
        return Ok(path);
    }
    // If the directory `runs` exists, `runs/typo` means a local file; the hub does not see the name.
    let parent = model.parent().filter(|p| p.is_dir());
    ensure!(parent.is_none(), "{} (if a model of the hub is meant: `meno pull {name}` first)", absent(model));
    pull(&name.to_string())
}

/// Treats a path that leads through a file as one that does not exist.
fn not_a_directory(error: anyhow::Error) -> Result<bool> {
    match error.downcast_ref::<std::io::Error>() {
        Some(e) if e.kind() == std::io::ErrorKind::NotADirectory => Ok(false),
        _ => Err(error),
    }
}

/// Updates the cache from the hub and returns the model's file or directory.
pub(crate) fn pull(name: &str) -> Result<PathBuf> {
    let hub = Hub::from_env()?;
    let mut display = Display::new();
    let result = hub.pull(name, &mut |progress| display.show(progress));
    drop(display);
    result.map_err(|error| match error {
        Error::LocalEntryNotFound { name, cache, source } => {
            let near = suggestion(hub.cache(), &name);
            anyhow!(source)
                .context(format!("{name} is neither an existing path nor in the cache ({}){near}", cache.display()))
        }
        Error::RepositoryNotFound { ref repo_id, .. } => anyhow!("{error}{}", suggestion(hub.cache(), repo_id)),
        error => error.into(),
    })
}

/// The cached model whose name is most similar to an unknown name.
fn suggestion(cache: &Cache, name: &str) -> String {
    let known = cache.repo_ids().unwrap_or_default();
    let repo_id = name.parse().map_or_else(|_| name.to_owned(), |n: ModelName| n.repo_id);
    match nearest(&repo_id, known.iter().map(String::as_str)) {
        Some(near) => format!("; did you mean {near}, which is in the cache?"),
        None => String::new(),
    }
}

/// Shows a pull in the terminal.
struct Display {
    work: Option<Work>,
    is_waiting: bool,
}

impl Display {
    fn new() -> Display {
        Display { work: None, is_waiting: false }
    }

    fn show(&mut self, progress: Progress<'_>) -> ControlFlow<()> {
        let was_waiting = std::mem::replace(&mut self.is_waiting, matches!(progress, Progress::Waiting));
        if let Progress::Cached { error, path } = progress {
            eprintln!("{error}; using the cache's {}", path.display());
            return ControlFlow::Continue(());
        }
        let work = self.work.get_or_insert_with(|| Work::new("files", Unit::Bytes));
        match progress {
            Progress::File { name, size } => {
                work.rename(name);
                if !is_watched() {
                    work.note(&format!("{name}  {}", bytes(size)));
                }
            }
            Progress::Bytes { done, skipped, total } => {
                work.set(done, total);
                work.set_before(skipped);
            }
            Progress::Waiting if !was_waiting => work.note("waiting for another process that pulls the same file"),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
