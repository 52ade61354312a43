//! Errors of the hub. Where Python's `huggingface_hub` has an exception for the same cause, the variant has its name.

use crate::bytes::bytes;
use meno_model::plain::plain;
use std::path::{Path, PathBuf};

/// An error of the hub or of its cache. Each says what is wrong and how to fix it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name of a model does not have the form `ORG/NAME[:QUANT][@REVISION]`.
    #[error("{name:?} is not the name of a model: expected ORG/NAME, or ORG/NAME:QUANT for one of its GGUF files")]
    InvalidName {
        /// The name.
        name: String,
    },
    /// The address of the hub is not an HTTP address.
    #[error("HF_ENDPOINT is {endpoint:?}: expected an address that starts with https://")]
    InvalidEndpoint {
        /// The address.
        endpoint: String,
    },
    /// No environment variable names a cache directory, and the user has no home directory.
    #[error("there is no home directory to keep models in: set HF_HOME")]
    NoCacheDirectory,
    /// A request got no response, or a broken one.
    #[error("cannot reach {endpoint}: {cause}")]
    Unreachable {
        /// The address of the hub.
        endpoint: String,
        /// The reason.
        cause: String,
    },
    /// The hub has no such model, or does not show it to this user.
    #[error("{endpoint} has no model {repo_id}, or it is private: check the name ({hint})")]
    RepositoryNotFound {
        /// The repository, `ORG/NAME`.
        repo_id: String,
        /// The address of the hub.
        endpoint: String,
        /// What the token has to do with it.
        hint: &'static str,
    },
    /// The terms of the model must be accepted before it can be downloaded.
    #[error("{repo_id} is gated: accept its terms at {endpoint}/{repo_id}, then set HF_TOKEN ({hint})")]
    GatedRepo {
        /// The repository.
        repo_id: String,
        /// The address of the hub.
        endpoint: String,
        /// What the token has to do with it.
        hint: &'static str,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{repo_id} has no revision {revision:?} at {endpoint} (RevisionNotFound)")]
    RevisionNotFound {
        /// The repository.
        repo_id: String,
        /// The branch, tag or commit.
        revision: String,
        /// The address of the hub.
        endpoint: String,
    },
    /// The commit lacks a file that the hub lists for it.
    #[error("{repo_id}: EntryNotFound at {endpoint}")]
    EntryNotFound {
        /// The repository.
        repo_id: String,
        /// The address of the hub.
        endpoint: String,
    },
    /// The hub rejects the request.
    #[error("{endpoint} rejects {repo_id} with status {status}: {hint}")]
    AccessDenied {
        /// The repository.
        repo_id: String,
        /// The address of the hub.
        endpoint: String,
        /// The HTTP status.
        status: u16,
        /// What the token has to do with it.
        hint: &'static str,
    },
    /// The hub asks for fewer requests.
    #[error("{endpoint} limits the rate of downloads (status 429): try again later")]
    TooManyRequests {
        /// The address of the hub.
        endpoint: String,
    },
    /// The list of a repository's files cannot be used: it is not what the hub sends, or it is hostile.
    #[error("{repo_id}: the file list of {endpoint} cannot be used: {what}")]
    InvalidListing {
        /// The repository.
        repo_id: String,
        /// The address of the hub.
        endpoint: String,
        /// What is wrong with it.
        what: String,
    },
    /// The repository holds no model that can run, or none of the wanted quantization.
    #[error("{name}: {why}; it has {files}")]
    NoModel {
        /// The name of the model.
        name: String,
        /// What is missing.
        why: String,
        /// The files of the repository, with their sizes.
        files: String,
    },
    /// The index of a checkpoint names a shard that the repository lacks.
    #[error("{name}: {index} lists {shard}, which the model does not have")]
    MissingShard {
        /// The name of the model.
        name: String,
        /// The index.
        index: &'static str,
        /// The shard.
        shard: String,
    },
    /// The transfer of a file broke off. What was received stays; another pull continues from there.
    #[error("{file}: stopped at {}; the same command continues from there: {source}", bytes(*received))]
    Interrupted {
        /// The file, `ORG/NAME/FILE`.
        file: String,
        /// Bytes that are kept.
        received: u64,
        /// The reason.
        source: Box<Error>,
    },
    /// The server ends a file early, again and again.
    #[error("{file}: the server sent only {received} of {size} bytes, repeatedly; try again later")]
    Truncated {
        /// The file, `ORG/NAME/FILE`.
        file: String,
        /// Bytes that are kept.
        received: u64,
        /// Bytes that the hub lists.
        size: u64,
    },
    /// A file does not have the digest that the hub lists; it was removed.
    #[error(
        "{file}: the downloaded file has the digest {found}, but the hub lists {expected}: it was changed in transit \
         or the server is broken; it was removed, try again"
    )]
    DigestMismatch {
        /// The file, `ORG/NAME/FILE`.
        file: String,
        /// The digest of the received bytes.
        found: String,
        /// The digest that the hub lists.
        expected: String,
    },
    /// The callback of the pull returned `Break`. What was received stays; another pull continues from there.
    #[error("the download was cancelled")]
    Cancelled,
    /// `HF_HUB_OFFLINE` is set, and the cache does not hold the model.
    #[error("{name}: HF_HUB_OFFLINE is set, and the cache ({}) does not have all of its files", cache.display())]
    OfflineModeIsEnabled {
        /// The name of the model.
        name: String,
        /// The directory of the cache.
        cache: PathBuf,
    },
    /// The hub cannot be reached, and the cache does not hold the model.
    #[error("{name} is not in the cache ({}): {source}", cache.display())]
    LocalEntryNotFound {
        /// The name of the model.
        name: String,
        /// The directory of the cache.
        cache: PathBuf,
        /// Why the hub cannot be reached.
        source: Box<Error>,
    },
    /// The model to remove is not in the cache.
    #[error("{name}: not in the cache{}", in_its_place(cache, others))]
    NotCached {
        /// The name of the model.
        name: String,
        /// The directory of the cache.
        cache: PathBuf,
        /// The models of the same repository that the cache holds.
        others: Vec<String>,
    },
    /// A place of the cache is a link or a file where a directory is expected. Removal does not follow it.
    #[error("{}: is not a directory of the cache; remove it yourself", path.display())]
    NotADirectory {
        /// The place.
        path: PathBuf,
    },
    /// The index of a checkpoint cannot be read.
    #[error(transparent)]
    Model(#[from] meno_model::Error),
    /// A file of the cache cannot be read or written.
    #[error("{}: {}", path.display(), plain(&source.to_string()))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl Error {
    /// Adds the path to an error of the system.
    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        |source| Error::Io { path: path.to_owned(), source }
    }
}

fn in_its_place(cache: &Path, others: &[String]) -> String {
    match others {
        [] => format!(" ({})", cache.display()),
        _ => format!(", which has {}", others.join(", ")),
    }
}
