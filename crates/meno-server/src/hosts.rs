//! Host names of the server and origins of web pages.
//!
//! A web page of another site can make its visitor's browser send requests to a server on the visitor's own machine. It
//! can do so directly, or it can point its own name to that machine (DNS rebinding), so that the browser takes both for
//! the same site. In the first case the browser sends the page's origin in `Origin`; in the second `Host` holds the
//! foreign name. Both are checked.

use crate::error::ApiError;
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue};
use std::net::IpAddr;
use std::sync::OnceLock;

/// The host names of this server.
#[derive(Debug, Default)]
pub struct Hosts {
    /// The configured names.
    names: Vec<String>,
    /// The host and address that the server listens on; empty until it listens.
    bound: OnceLock<(String, IpAddr)>,
}

impl Hosts {
    /// Creates the list with the configured names.
    pub fn new(names: &[String]) -> Hosts {
        Hosts { names: names.iter().map(|n| without_port(n).to_ascii_lowercase()).collect(), bound: OnceLock::new() }
    }

    /// Sets the host and address that the server listens on.
    pub fn bound(&self, host: &str, address: IpAddr) {
        let _ = self.bound.set((host.to_ascii_lowercase(), address)); // set once
    }

    /// Returns true if names are checked: on loopback, the target of DNS rebinding, and if names are configured.
    fn checks(&self) -> bool {
        !self.names.is_empty() || self.bound.get().is_some_and(|b| b.1.to_canonical().is_loopback())
    }

    /// Returns true if a host, without its port, is this server.
    fn knows(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        let local = host == "localhost" || address.is_some_and(|a| a.to_canonical().is_loopback());
        let bound = self.bound.get();
        // Another site cannot redirect an IP address, only a name.
        let unspecified = bound.is_some_and(|b| b.1.is_unspecified()) && address.is_some();
        local || unspecified || self.names.contains(&host) || bound.is_some_and(|b| b.0 == host || Some(b.1) == address)
    }

    /// Rejects a request whose `Host` is not this server.
    pub(crate) fn check_host(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        if !self.checks() {
            return Ok(());
        }
        let known = |value: &HeaderValue| value.to_str().is_ok_and(|host| self.knows(without_port(host)));
        match headers.get_all(HOST).iter().find(|value| !known(value)) {
            Some(value) => Err(ApiError::foreign_host(&String::from_utf8_lossy(value.as_bytes()))),
            None => Ok(()),
        }
    }

    /// Rejects a request of a web page unless the page is the server's own or its origin is in `allowed`.
    pub(crate) fn check_origin(&self, headers: &HeaderMap, allowed: &[String]) -> Result<(), ApiError> {
        let own = headers.get(HOST).and_then(|h| h.to_str().ok());
        let foreign = |origin: &&HeaderValue| {
            let origin_text = origin.to_str().unwrap_or_default();
            let host = ["http://", "https://"].iter().find_map(|scheme| origin_text.strip_prefix(scheme));
            let same = host.is_some() && host == own;
            let known = host.is_some_and(|h| self.checks() && self.knows(without_port(h)));
            !same && !known && !is_listed(origin, allowed)
        };
        match headers.get_all(ORIGIN).iter().find(foreign) {
            Some(origin) => Err(ApiError::foreign_origin(&String::from_utf8_lossy(origin.as_bytes()))),
            None => Ok(()),
        }
    }
}

/// A host without its port.
fn without_port(authority: &str) -> &str {
    let end = authority.rfind(']').map_or(0, |i| i + 1);
    authority[end..].find(':').map_or(authority, |i| &authority[..end + i])
}

/// Returns true if an origin is in the list given by `--cors-origin`.
pub(crate) fn is_listed(origin: &HeaderValue, listed: &[String]) -> bool {
    listed.iter().any(|l| l == "*" || l.trim_end_matches('/').as_bytes() == origin.as_bytes())
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
        assert_eq!(["a:1", "[::1]:80", "[::1]", "a", ""].map(without_port), ["a", "[::1]", "[::1]", "a", ""]);
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
