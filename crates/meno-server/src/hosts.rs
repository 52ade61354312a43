//! Under which names the server may be asked, and by the pages of which origins.
//!
//! A web page of a foreign site can make its visitor's browser ask a server on the visitor's own machine: directly,
//! or, by letting its own name point there (DNS rebinding), as if it were the same site. In the first case the browser
//! says so in `Origin`, in the second the foreign name stands in `Host`.

use crate::app::Server;
use crate::error::ApiError;
use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

/// The names of this server.
#[derive(Debug, Default)]
pub struct Hosts {
    /// Names that were given.
    names: Vec<String>,
    /// Host and address that the server listens on, once it does.
    bound: OnceLock<(String, IpAddr)>,
}

impl Hosts {
    /// With further names.
    pub fn new(names: &[String]) -> Hosts {
        Hosts { names: names.iter().map(|n| bare(n).to_ascii_lowercase()).collect(), bound: OnceLock::new() }
    }

    /// Notes where the server listens.
    pub fn bound(&self, host: &str, address: IpAddr) {
        let _ = self.bound.set((host.to_ascii_lowercase(), address)); // once
    }

    /// Whether names are looked at: on the loopback, where DNS rebinding leads, and where names were given.
    fn checks(&self) -> bool {
        !self.names.is_empty() || self.bound.get().is_some_and(|b| b.1.to_canonical().is_loopback())
    }

    /// Whether a host, without its port, is this server.
    fn knows(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        let local = host == "localhost" || address.is_some_and(|a| a.to_canonical().is_loopback());
        let bound = self.bound.get();
        // An address is no name that another site could let point here.
        let unspecified = bound.is_some_and(|b| b.1.is_unspecified()) && address.is_some();
        local || unspecified || self.names.contains(&host) || bound.is_some_and(|b| b.0 == host || Some(b.1) == address)
    }
}

/// A host without its port.
fn bare(authority: &str) -> &str {
    let end = authority.rfind(']').map_or(0, |i| i + 1);
    authority[end..].find(':').map_or(authority, |i| &authority[..end + i])
}

/// Whether an origin is one of `given`, as `--cors-origin` names them.
pub(crate) fn is_given(origin: &HeaderValue, given: &[String]) -> bool {
    given.iter().any(|g| g == "*" || g.trim_end_matches('/').as_bytes() == origin.as_bytes())
}

/// Refuses requests under foreign names and from pages of foreign origins.
pub(crate) async fn check(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    match host(&server, headers).and_then(|()| origin(&server, headers)) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn host(server: &Server, headers: &HeaderMap) -> Result<(), ApiError> {
    if !server.hosts.checks() {
        return Ok(());
    }
    let known = |value: &HeaderValue| value.to_str().is_ok_and(|host| server.hosts.knows(bare(host)));
    match headers.get_all(HOST).iter().find(|value| !known(value)) {
        Some(value) => Err(ApiError::foreign_host(&String::from_utf8_lossy(value.as_bytes()))),
        None => Ok(()),
    }
}

fn origin(server: &Server, headers: &HeaderMap) -> Result<(), ApiError> {
    let own = headers.get(HOST).and_then(|h| h.to_str().ok());
    let foreign = |origin: &&HeaderValue| {
        let origin_text = origin.to_str().unwrap_or_default();
        let host = ["http://", "https://"].iter().find_map(|scheme| origin_text.strip_prefix(scheme));
        let same = host.is_some() && host == own;
        let known = host.is_some_and(|h| server.hosts.checks() && server.hosts.knows(bare(h)));
        !same && !known && !is_given(origin, &server.options.cors_origins)
    };
    match headers.get_all(ORIGIN).iter().find(foreign) {
        Some(origin) => Err(ApiError::foreign_origin(&String::from_utf8_lossy(origin.as_bytes()))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_server_on_the_loopback() {
        let hosts = Hosts::new(&["Chat.Example:8000".to_owned()]);
        hosts.bound("box.local", "127.0.0.1".parse().unwrap());
        assert!(hosts.checks());
        for own in ["localhost", "LOCALHOST.", "127.0.0.1", "127.8.9.1", "[::1]", "chat.example", "box.local"] {
            assert!(hosts.knows(own), "{own}");
        }
        for foreign in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "[::2]"] {
            assert!(!hosts.knows(foreign), "{foreign}");
        }
        assert_eq!(["a:1", "[::1]:80", "[::1]", "a", ""].map(bare), ["a", "[::1]", "[::1]", "a", ""]);
    }

    #[test]
    fn a_server_for_all_is_asked_under_any_name_unless_names_are_given() {
        let open = Hosts::default();
        open.bound("0.0.0.0", "0.0.0.0".parse().unwrap());
        assert!(!open.checks());
        let named = Hosts::new(&["chat.example".to_owned()]);
        named.bound("0.0.0.0", "0.0.0.0".parse().unwrap());
        assert!(
            named.checks() && named.knows("10.0.0.7") && named.knows("chat.example") && !named.knows("evil.example")
        );
    }
}
