//! Models of the Hugging Face hub: download, cache, list and remove them (feature `hub`).
//!
//! [`Hub::pull`] downloads what the cache lacks of a model and returns its path:
//!
//! ```no_run
//! use meno::hub::{Hub, Progress};
//! use std::ops::ControlFlow;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let path = Hub::from_env()?.pull("Qwen/Qwen2.5-0.5B-Instruct", &mut |progress| {
//!     if let Progress::Bytes { done, total, .. } = progress {
//!         eprint!("\r{done} of {total} bytes");
//!     }
//!     ControlFlow::Continue(())
//! })?;
//! let model = meno::TextModel::load(&path)?;
//! # Ok(())
//! # }
//! ```
//!
//! A model is named `ORG/NAME[:QUANT][@REVISION]` ([`ModelName`]): the safetensors checkpoint of a repository, or, with
//! `QUANT`, one of its GGUF files. The [`Cache`] is the one of Python's `huggingface_hub`, so both use one copy of a
//! model. The same environment variables configure both: `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_TOKEN`,
//! `HF_HUB_OFFLINE`.
//!
//! Transfers resume where they broke off, and a file gets its final name only if it has the length and the digest that
//! the hub lists. The crate `hf-hub` is not used. Version 0.5 checks no digest, appends to a partial file whatever the
//! status of the response is, reads a response to its end regardless of the listed length, has no time limits, calls
//! partial files and locks differently from Python, and does not know `HF_HUB_CACHE`, `HF_TOKEN` and `HF_HUB_OFFLINE`;
//! later versions need some 280 packages. The part of it that fits, the layout of the cache, is 60 lines.

mod cache;
mod cached_model;
mod client;
mod download;
mod env;
mod error;
mod model_name;
mod part;
mod progress;
mod removal;
mod repo_info;
mod select;

pub use cache::Cache;
pub use cached_model::CachedModel;
pub use client::Client;
pub use error::Error;
pub use model_name::ModelName;
pub use progress::Progress;
pub use removal::Removal;

use download::{Source, download};
use progress::Meter;
use repo_info::RepoInfo;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// The hub with the cache for its models.
pub struct Hub {
    client: Client,
    cache: Cache,
}

impl Hub {
    /// Configures the hub and the cache from the environment, as [`Client::from_env`] and [`Cache::from_env`] do.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEndpoint`], [`Error::NoCacheDirectory`].
    pub fn from_env() -> Result<Hub, Error> {
        Ok(Hub::new(Client::from_env()?, Cache::from_env()?))
    }

    /// The hub that `client` reaches, with the models that `cache` keeps.
    pub fn new(client: Client, cache: Cache) -> Hub {
        Hub { client, cache }
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Downloads what the cache lacks of the newest version of a model and returns the path of its snapshot, or of the
    /// GGUF file in it. `model` is written as a [`ModelName`]. If the hub cannot be reached, or `HF_HUB_OFFLINE` is
    /// set, returns what the cache holds.
    ///
    /// `progress` is called on this thread. If it returns `Break`, the pull ends; what was received stays.
    ///
    /// # Errors
    ///
    /// - [`Error::InvalidName`] if `model` is no name;
    /// - [`Error::RepositoryNotFound`], [`Error::GatedRepo`], [`Error::RevisionNotFound`], [`Error::AccessDenied`],
    ///   [`Error::TooManyRequests`] if the hub rejects the model;
    /// - [`Error::NoModel`] if the repository has no such file;
    /// - [`Error::LocalEntryNotFound`], [`Error::OfflineModeIsEnabled`] if the hub cannot be asked and the cache does
    ///   not hold the model;
    /// - [`Error::Interrupted`], [`Error::Truncated`], [`Error::Cancelled`] if a transfer ended early: the next pull
    ///   continues from there;
    /// - [`Error::DigestMismatch`], [`Error::InvalidListing`], [`Error::MissingShard`] if the server is broken or
    ///   hostile;
    /// - [`Error::Io`] if the cache cannot be written.
    pub fn pull(
        &self,
        model: &str,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<PathBuf, Error> {
        let name: ModelName = model.parse()?;
        let (cached, cache) = (|| self.cache.find(&name), || self.cache.directory().to_owned());
        if self.client.is_offline() {
            return cached().ok_or_else(|| Error::OfflineModeIsEnabled { name: name.to_string(), cache: cache() });
        }
        // The hub knows whole commits only.
        let commit = self.cache.repo(&name.repo_id).commit_with_prefix(name.revision());
        let revision = commit.as_deref().unwrap_or(name.revision());
        match self.client.repo_info(&name.repo_id, revision) {
            Ok(info) => self.fetch(&name, revision, &info, progress),
            Err(error @ Error::Unreachable { .. }) => match cached() {
                Some(path) => match progress(Progress::Cached { error: &error, path: &path }) {
                    ControlFlow::Continue(()) => Ok(path),
                    ControlFlow::Break(()) => Err(Error::Cancelled),
                },
                None => {
                    let source = Box::new(error);
                    Err(Error::LocalEntryNotFound { name: name.to_string(), cache: cache(), source })
                }
            },
            Err(error) => Err(error),
        }
    }

    /// Downloads the selected files and links them into a snapshot; updates the reference when all of them are there.
    fn fetch(
        &self,
        name: &ModelName,
        revision: &str,
        info: &RepoInfo,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<PathBuf, Error> {
        let names: Vec<&str> = info.files.iter().map(|f| f.name.as_str()).collect();
        let choice = select::choose(&names, name.quantization.as_deref()).map_err(|why| Error::NoModel {
            name: name.to_string(),
            why,
            files: info.describe(),
        })?;
        let repo = self.cache.repo(&name.repo_id);
        let snapshot = repo.snapshot(&info.commit);
        let mut wanted: Vec<_> = choice.files.iter().filter_map(|name| info.file(name)).collect();
        // The index comes first, because it names the shards; then the small files.
        wanted.sort_by_key(|f| (f.name != select::INDEX, f.size));
        let mut done = 0;
        let mut meter = Meter::new(wanted.iter().map(|f| f.size).sum(), progress);
        while done < wanted.len() {
            let file = wanted[done];
            let blob = repo.blob(&file.digest);
            let source = Source { client: &self.client, repo_id: &name.repo_id, commit: &info.commit, file };
            download(&source, &blob, &mut meter)?;
            cache::link(&blob, &snapshot.join(&file.name))?;
            if file.name == select::INDEX {
                let shards = select::shards(&snapshot.join(&file.name))?;
                if let Some(shard) = shards.iter().find(|s| info.file(s).is_none()) {
                    let (name, shard) = (name.to_string(), shard.clone());
                    return Err(Error::MissingShard { name, index: select::INDEX, shard });
                }
                wanted.retain(|f| !f.name.ends_with(".safetensors") || shards.contains(&f.name));
                meter.set_total(wanted.iter().map(|f| f.size).sum());
            }
            done += 1;
        }
        if revision != info.commit {
            repo.set_ref(revision, &info.commit)?;
        }
        Ok(match &choice.first {
            Some(first) => snapshot.join(first),
            None => snapshot,
        })
    }
}
