//! Models of the Hugging Face hub: `ORG/NAME[:QUANT]` works wherever a command takes a model.
//!
//! The cache is shared with Python's `huggingface_hub` and laid out by the hub's own crate, so that both use
//! one copy of a model. The transfers are implemented here: they resume where they broke off, and the content
//! is checked against the digests that the hub lists.

mod cache;
mod download;
mod name;
mod remote;
mod select;
mod stored;

pub(crate) use stored::{Stored, removal};

use crate::nearest::{absent, nearest};
use anyhow::{Context, Result, bail, ensure};
use cache::Cached;
use download::Progress;
use name::Name;
use remote::{Hub, Listing};
use std::path::{Path, PathBuf};

/// The file or directory of a model: an existing path, or a model of the hub, which is downloaded if the
/// cache does not hold all of it.
pub(crate) fn locate(model: &Path) -> Result<PathBuf> {
    if model.try_exists().with_context(|| model.display().to_string()).or_else(not_a_directory)? {
        return Ok(model.to_owned());
    }
    // A name with the extension of a weight file is a path.
    let file = model.extension().is_some_and(|e| e == "gguf" || e == "safetensors" || e == "json");
    let name = model.to_str().filter(|_| !file).and_then(|text| Name::parse(text).ok());
    let Some(name) = name else { bail!("{} (models of the hub are named ORG/NAME or ORG/NAME:QUANT)", absent(model)) };
    if let Some(path) = Cached::of(&name)?.find() {
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

/// All models in the cache.
pub(crate) fn stored() -> Result<Vec<Stored>> {
    stored::all()
}

/// The cache directory.
pub(crate) fn root() -> Result<PathBuf> {
    cache::root()
}

/// Total bytes in the cache.
pub(crate) fn cached_bytes() -> Result<u64> {
    stored::bytes()
}

/// The hub's address and whether it responds; `None` if requests are disabled.
pub(crate) fn reach() -> Result<(String, Option<Result<()>>)> {
    let hub = Hub::from_env()?;
    let answer = (!hub.offline()).then(|| hub.reach());
    Ok((hub.endpoint().to_owned(), answer))
}

/// Updates the cache from the hub and returns the model's file or directory.
pub(crate) fn pull(name: &str) -> Result<PathBuf> {
    let name = Name::parse(name)?;
    let cached = Cached::of(&name)?;
    let hub = Hub::from_env()?;
    if hub.offline() {
        return cached.find().with_context(|| {
            format!(
                "{name}: HF_HUB_OFFLINE is set, and the cache ({}) does not have all of its files",
                cached.root().display()
            )
        });
    }
    let listing = match hub.listing(&name.repo) {
        Ok(listing) => listing,
        Err(error) if error.is::<remote::Unreachable>() => {
            let Some(path) = cached.find() else {
                let near = meant(&cached, &name);
                let what =
                    format!("{name} is neither an existing path nor in the cache ({}){near}", cached.root().display());
                return Err(error.context(what));
            };
            eprintln!("{error:#}; using the cache's {}", path.display());
            return Ok(path);
        }
        Err(error) if error.is::<remote::Unknown>() => bail!("{error}{}", meant(&cached, &name)),
        Err(error) => return Err(error),
    };
    fetch(&hub, &cached, &listing, &name)
}

/// The cached model whose name is most similar to an unknown name.
fn meant(cached: &Cached, name: &Name) -> String {
    let known = cached.all();
    match nearest(&name.repo, known.iter().map(String::as_str)) {
        Some(near) => format!("; did you mean {near}, which is in the cache?"),
        None => String::new(),
    }
}

/// Downloads the selected files and links them into a snapshot; the reference is updated when all of them are there.
fn fetch(hub: &Hub, cached: &Cached, listing: &Listing, name: &Name) -> Result<PathBuf> {
    let names: Vec<&str> = listing.files.iter().map(|f| f.name.as_str()).collect();
    let choice = select::choose(&names, name.quant.as_deref())
        .map_err(|why| anyhow::anyhow!("{name}: {why}; it has {}", listing.describe()))?;
    let file = |name: &str| listing.files.iter().find(|f| f.name == name);
    let snapshot = cached.snapshot(&listing.commit);
    let mut wanted: Vec<_> = choice.files.iter().filter_map(|name| file(name)).collect();
    // The index comes first, because it names the shards; then the small files.
    wanted.sort_by_key(|f| (f.name != select::INDEX, f.size));
    let mut done = 0;
    let mut progress = Progress::new(wanted.iter().map(|f| f.size).sum());
    while done < wanted.len() {
        let f = wanted[done];
        let blob = cached.blob(&f.digest);
        download::download(hub, &name.repo, &listing.commit, f, &blob, &mut progress)
            .with_context(|| format!("{}/{}", name.repo, f.name))?;
        cache::link(&blob, &snapshot.join(&f.name))?;
        if f.name == select::INDEX {
            let shards = select::shards(&snapshot.join(&f.name))?;
            let unknown = shards.iter().find(|s| file(s).is_none());
            ensure!(
                unknown.is_none(),
                "{name}: {} lists {}, which the model does not have",
                select::INDEX,
                unknown.map_or("", |s| s)
            );
            wanted.retain(|f| !f.name.ends_with(".safetensors") || shards.contains(&f.name));
            progress.set_total(wanted.iter().map(|f| f.size).sum());
        }
        done += 1;
    }
    drop(progress);
    cached.set_ref(&listing.commit)?;
    Ok(match &choice.first {
        Some(first) => snapshot.join(first),
        None => snapshot,
    })
}
