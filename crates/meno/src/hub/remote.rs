//! Requests to the hub: the list of a repository's files, and their bytes.

use crate::remote::has_no_address;
use anyhow::{Context, Result, anyhow, bail, ensure};
use meno_model::plain::plain;
use serde::Deserialize;
use std::path::{Component, Path};
use std::time::Duration;
use ureq::config::RedirectAuthHeaders;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

/// Maximum bytes of a listing.
const MAX_LISTING: u64 = 64 << 20;
/// The explanation when a name has no address.
const NO_ADDRESS: &str = "its name has no address; is this machine online? (HF_ENDPOINT names a mirror)";
/// A connection without data for this long counts as broken.
const SILENCE: Duration = Duration::from_secs(30);

/// The hub, or a mirror of it.
pub(super) struct Hub {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
    offline: bool,
}

/// The request failed, as opposed to an error response from the hub.
#[derive(Debug, thiserror::Error)]
#[error("cannot reach {endpoint}: {cause}")]
pub(super) struct Unreachable {
    endpoint: String,
    cause: String,
}

/// The hub has no such model, or does not show it to this user.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unknown(String);

/// A file in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RemoteFile {
    /// Its name, directories included.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 of a large file, Git object id of a small one, in hexadecimal.
    pub digest: String,
}

/// The files of a repository at one commit.
#[derive(Debug)]
pub(super) struct Listing {
    /// The commit's id.
    pub commit: String,
    /// Every file.
    pub files: Vec<RemoteFile>,
}

#[derive(Deserialize)]
struct Answer {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

fn setting(key: &str) -> Option<String> {
    std::env::var(key).ok().map(|v| v.trim().to_owned()).filter(|v| !v.is_empty())
}

impl Hub {
    /// Configures the hub from `HF_ENDPOINT`, `HF_TOKEN` (or the token stored by `hf auth login`) and
    /// `HF_HUB_OFFLINE`.
    pub(super) fn from_env() -> Result<Hub> {
        let endpoint = setting("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        let http = endpoint.starts_with("https://") || endpoint.starts_with("http://");
        ensure!(http, "HF_ENDPOINT is {endpoint:?}: expected an address that starts with https://");
        let token = setting("HF_TOKEN").or_else(|| {
            let known = setting("HF_HOME").is_some() || std::env::home_dir().is_some();
            known.then(|| hf_hub::Cache::from_env().token()).flatten()
        });
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .user_agent(concat!("meno/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(SILENCE))
            .timeout_recv_response(Some(2 * SILENCE))
            .timeout_per_read(Some(SILENCE))
            .build();
        let offline = setting("HF_HUB_OFFLINE").is_some_and(|v| !matches!(v.as_str(), "0" | "false" | "no" | "off"));
        Ok(Hub { agent: config.into(), endpoint: endpoint.trim_end_matches('/').to_owned(), token, offline })
    }

    /// The hub's address.
    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Succeeds if the hub responds within a few seconds.
    pub(super) fn reach(&self) -> Result<()> {
        let url = format!("{}/api/models?limit=1", self.endpoint);
        let request = self.agent.get(&url).config().timeout_global(Some(Duration::from_secs(4))).build();
        let response = request.call().map_err(|e| self.unreachable(e))?;
        ensure!(!response.status().is_server_error(), "{} returned status {}", self.endpoint, response.status());
        Ok(())
    }

    /// True if requests are disabled.
    pub(super) fn offline(&self) -> bool {
        self.offline
    }

    /// The files of `repo` on its main branch.
    pub(super) fn listing(&self, repo: &str) -> Result<Listing> {
        let url = format!("{}/api/models/{repo}/revision/main?blobs=true", self.endpoint);
        let mut response = self.get(&url, None)?;
        self.check(repo, &response)?;
        let body = response.body_mut().with_config().limit(MAX_LISTING).read_to_vec();
        let body = body.map_err(|e| self.unreachable(e))?;
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|e| anyhow!("{repo}: the response of {} is not one of a model hub: {e}", self.endpoint))?;
        answer.listing().with_context(|| format!("{repo}: the file list of {} cannot be used", self.endpoint))
    }

    /// Requests the bytes of a file from offset `from` on. The server may still return the entire file.
    pub(super) fn file(&self, repo: &str, commit: &str, name: &str, from: u64) -> Result<Response<Body>> {
        let name: String = name.split('/').map(encoded).collect::<Vec<_>>().join("/");
        let url = format!("{}/{repo}/resolve/{commit}/{name}", self.endpoint);
        let response = self.get(&url, (from > 0).then_some(from))?;
        if response.status() != StatusCode::RANGE_NOT_SATISFIABLE {
            self.check(repo, &response)?;
        }
        Ok(response)
    }

    fn get(&self, url: &str, from: Option<u64>) -> Result<Response<Body>> {
        let mut request = self.agent.get(url);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(from) = from {
            request = request.header("range", format!("bytes={from}-"));
        }
        request.call().map_err(|e| self.unreachable(e).into())
    }

    fn unreachable(&self, cause: ureq::Error) -> Unreachable {
        let cause = match &cause {
            error if has_no_address(error) => NO_ADDRESS.to_owned(),
            ureq::Error::Io(e) => plain(&e.to_string()),
            ureq::Error::Timeout(_) => "it does not answer in time; try again later".to_owned(),
            other => other.to_string(),
        };
        Unreachable { endpoint: self.endpoint.clone(), cause }
    }

    /// The error for a broken connection.
    pub(super) fn broken(&self, error: &std::io::Error) -> Unreachable {
        Unreachable { endpoint: self.endpoint.clone(), cause: plain(&error.to_string()) }
    }

    /// Turns the hub's error responses into messages that say how to fix the problem.
    fn check(&self, repo: &str, response: &Response<Body>) -> Result<()> {
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let token = if self.token.is_some() {
            "the token that is set has no access to it"
        } else {
            "no token is set: make one at https://huggingface.co/settings/tokens and set HF_TOKEN"
        };
        let endpoint = &self.endpoint;
        match (status.as_u16(), header("x-error-code")) {
            (_, "GatedRepo") => {
                bail!("{repo} is gated: accept its terms at {endpoint}/{repo}, then set HF_TOKEN ({token})")
            }
            (_, "RepoNotFound") | (401 | 404, "") => {
                let what = format!("{endpoint} has no model {repo}, or it is private: check the name ({token})");
                bail!(Unknown(what))
            }
            (_, code @ ("RevisionNotFound" | "EntryNotFound")) => bail!("{repo}: {code} at {endpoint}"),
            (401 | 403, _) => bail!("{endpoint} refuses {repo} with status {status}: {token}"),
            (429, _) => bail!("{endpoint} limits the rate of downloads (status 429): try again later"),
            _ => bail!(Unreachable {
                endpoint: endpoint.clone(),
                cause: format!("status {status} {}", header("x-error-message")).trim_end().to_owned(),
            }),
        }
    }
}

impl Answer {
    fn listing(self) -> Result<Listing> {
        let word = |s: &str| (7..=64).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_hexdigit());
        ensure!(word(&self.sha), "{:?} is not a commit hash", self.sha);
        let mut files = Vec::new();
        for s in self.siblings {
            let name = s.rfilename;
            let inside = !name.is_empty()
                && !name.contains('\\')
                && Path::new(&name).components().all(|c| matches!(c, Component::Normal(_)));
            ensure!(inside, "the file name {name:?} leads out of the repository");
            let (digest, size) = match (s.lfs, s.blob_id, s.size) {
                (Some(lfs), ..) => (lfs.sha256, lfs.size),
                (None, Some(id), Some(size)) => (id, size),
                _ => bail!("{name} has no digest or no size"),
            };
            let hexadecimal = digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            ensure!(hexadecimal && matches!(digest.len(), 40 | 64), "{name} has the digest {digest:?}");
            files.push(RemoteFile { name, size, digest });
        }
        Ok(Listing { commit: self.sha, files })
    }
}

impl Listing {
    /// The files as a readable list.
    pub(super) fn describe(&self) -> String {
        const MOST: usize = 40;
        let line = |f: &RemoteFile| format!("{} ({})", f.name, crate::progress::bytes(f.size));
        let mut lines: Vec<String> = self.files.iter().take(MOST).map(line).collect();
        if self.files.len() > MOST {
            lines.push(format!("and {} more", self.files.len() - MOST));
        }
        lines.join(", ")
    }
}

/// Percent-encodes one part of a path.
fn encoded(part: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    part.bytes().map(|b| if plain(b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn listing(siblings: serde_json::Value) -> Result<Listing> {
        let answer: Answer = serde_json::from_value(json!({"sha": "0123456789abcdef", "siblings": siblings}))?;
        answer.listing()
    }

    #[test]
    fn a_listing_gives_sizes_and_digests() {
        let (git, sha) = ("a".repeat(40), "b".repeat(64));
        let files = listing(json!([
            {"rfilename": "config.json", "size": 3, "blobId": git},
            {"rfilename": "a/b c.gguf", "size": 9, "blobId": git, "lfs": {"sha256": sha, "size": 9, "pointerSize": 1}}
        ]));
        let files = files.unwrap().files;
        assert_eq!(files[0], RemoteFile { name: "config.json".into(), size: 3, digest: git });
        assert_eq!(files[1], RemoteFile { name: "a/b c.gguf".into(), size: 9, digest: sha });
        assert_eq!(encoded("b c%é.gguf"), "b%20c%25%C3%A9.gguf");
    }

    #[test]
    fn a_listing_that_would_write_elsewhere_is_refused() {
        let id = "a".repeat(40);
        for name in ["../x", "/etc/x", "a/../../x", "", "a\\..\\x", "./x/.."] {
            let e = listing(json!([{"rfilename": name, "size": 1, "blobId": id}])).unwrap_err();
            assert!(e.to_string().contains("leads out"), "{name}: {e}");
        }
        for digest in ["../../x", "", "A", &"g".repeat(40)] {
            assert!(listing(json!([{"rfilename": "x", "size": 1, "blobId": digest}])).is_err(), "{digest}");
        }
        assert!(listing(json!([{"rfilename": "x", "size": 1}])).is_err());
    }
}
