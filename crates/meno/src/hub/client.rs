//! Requests to the hub: the list of a repository's files, and their bytes.

use super::env::{huggingface_home, setting};
use super::error::Error;
use super::repo_info::RepoInfo;
use crate::no_address::has_no_address;
use meno_model::plain::plain;
use std::time::Duration;
use ureq::config::RedirectAuthHeaders;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

/// The hub's address where `HF_ENDPOINT` does not name a mirror.
const ENDPOINT: &str = "https://huggingface.co";
/// Maximum bytes of a listing.
const MAX_LISTING: u64 = 64 << 20;
/// The explanation when a name has no address.
const NO_ADDRESS: &str = "its name has no address; is this machine online? (HF_ENDPOINT names a mirror)";
/// A connection without data for this long counts as broken.
const SILENCE: Duration = Duration::from_secs(30);

/// The hub, or a mirror of it.
pub struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
    offline: bool,
}

impl Client {
    /// Configures the client from `HF_ENDPOINT`, `HF_TOKEN` (or the token stored by `hf auth login`) and
    /// `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEndpoint`].
    pub fn from_env() -> Result<Client, Error> {
        let endpoint = setting("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into());
        let mut client = Client::new(&endpoint, setting("HF_TOKEN").or_else(stored_token))?;
        let no = |v: &str| matches!(v, "0" | "false" | "no" | "off");
        client.offline = setting("HF_HUB_OFFLINE").is_some_and(|v| !no(&v));
        Ok(client)
    }

    /// A client of the hub at `endpoint`, for example `https://huggingface.co`. Only this host gets the token, not the
    /// hosts that it redirects to.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEndpoint`] if `endpoint` is no HTTP address.
    pub fn new(endpoint: &str, token: Option<String>) -> Result<Client, Error> {
        if !endpoint.starts_with("https://") && !endpoint.starts_with("http://") {
            return Err(Error::InvalidEndpoint { endpoint: endpoint.to_owned() });
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .user_agent(concat!("meno/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(SILENCE))
            .timeout_recv_response(Some(2 * SILENCE))
            .timeout_per_read(Some(SILENCE))
            .build();
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        Ok(Client { agent: config.into(), endpoint, token, offline: false })
    }

    /// The hub's address.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// True if requests are disabled.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// Succeeds if the hub responds within a few seconds.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`].
    pub fn ping(&self) -> Result<(), Error> {
        let url = format!("{}/api/models?limit=1", self.endpoint);
        let request = self.agent.get(&url).config().timeout_global(Some(Duration::from_secs(4))).build();
        let response = request.call().map_err(|e| self.unreachable(e))?;
        match response.status() {
            status if status.is_server_error() => Err(self.unavailable(&format!("status {status}"))),
            _ => Ok(()),
        }
    }

    /// The files of `repo_id` at `revision`: a branch, a tag or a whole commit.
    pub(super) fn repo_info(&self, repo_id: &str, revision: &str) -> Result<RepoInfo, Error> {
        let url = format!("{}/api/models/{repo_id}/revision/{}?blobs=true", self.endpoint, encoded(revision));
        let mut response = self.get(&url, None)?;
        self.check(repo_id, revision, &response)?;
        let body = response.body_mut().with_config().limit(MAX_LISTING).read_to_vec();
        let body = body.map_err(|e| self.unreachable(e))?;
        RepoInfo::parse(&body).map_err(|what| Error::InvalidListing {
            repo_id: repo_id.to_owned(),
            endpoint: self.endpoint.clone(),
            what,
        })
    }

    /// Requests the bytes of a file from offset `from` on. The server may still return the entire file.
    pub(super) fn file(&self, repo_id: &str, commit: &str, name: &str, from: u64) -> Result<Response<Body>, Error> {
        let name: String = name.split('/').map(encoded).collect::<Vec<_>>().join("/");
        let url = format!("{}/{repo_id}/resolve/{commit}/{name}", self.endpoint);
        let response = self.get(&url, (from > 0).then_some(from))?;
        if response.status() != StatusCode::RANGE_NOT_SATISFIABLE {
            self.check(repo_id, commit, &response)?;
        }
        Ok(response)
    }

    fn get(&self, url: &str, from: Option<u64>) -> Result<Response<Body>, Error> {
        let mut request = self.agent.get(url);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(from) = from {
            request = request.header("range", format!("bytes={from}-"));
        }
        request.call().map_err(|e| self.unreachable(e))
    }

    fn unreachable(&self, cause: ureq::Error) -> Error {
        match &cause {
            error if has_no_address(error) => self.unavailable(NO_ADDRESS),
            ureq::Error::Io(e) => self.broken(e),
            ureq::Error::Timeout(_) => self.unavailable("it does not answer in time; try again later"),
            other => self.unavailable(&other.to_string()),
        }
    }

    /// The error for a broken connection.
    pub(super) fn broken(&self, error: &std::io::Error) -> Error {
        self.unavailable(&plain(&error.to_string()))
    }

    fn unavailable(&self, cause: &str) -> Error {
        Error::Unreachable { endpoint: self.endpoint.clone(), cause: cause.to_owned() }
    }

    /// Turns the hub's error responses into errors that say how to fix the problem.
    fn check(&self, repo_id: &str, revision: &str, response: &Response<Body>) -> Result<(), Error> {
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let hint = match self.token {
            Some(_) => "the token that is set has no access to it",
            None => "no token is set: make one at https://huggingface.co/settings/tokens and set HF_TOKEN",
        };
        let (repo_id, endpoint) = (repo_id.to_owned(), self.endpoint.clone());
        Err(match (status.as_u16(), header("x-error-code")) {
            (_, "GatedRepo") => Error::GatedRepo { repo_id, endpoint, hint },
            (_, "RepoNotFound") | (401 | 404, "") => Error::RepositoryNotFound { repo_id, endpoint, hint },
            (_, "RevisionNotFound") => Error::RevisionNotFound { repo_id, revision: revision.to_owned(), endpoint },
            (_, "EntryNotFound") => Error::EntryNotFound { repo_id, endpoint },
            (status @ (401 | 403), _) => Error::AccessDenied { repo_id, endpoint, status, hint },
            (429, _) => Error::TooManyRequests { endpoint },
            _ => self.unavailable(format!("status {status} {}", header("x-error-message")).trim_end()),
        })
    }
}

/// The token that `hf auth login` stored.
fn stored_token() -> Option<String> {
    let token = std::fs::read_to_string(huggingface_home()?.join("token")).ok()?;
    Some(token.trim().to_owned()).filter(|t| !t.is_empty())
}

/// Percent-encodes one part of a path.
fn encoded(part: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    part.bytes().map(|b| if plain(b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn parts_of_a_path_are_encoded() {
        assert_eq!(encoded("b c%é.gguf"), "b%20c%25%C3%A9.gguf");
        assert_eq!(encoded("refs/pr/1"), "refs%2Fpr%2F1");
    }
}
