//! Recognizes a host name without an address. Part of the command and of the library's hub.

/// True if a request failed because its host name has no address.
pub(crate) fn has_no_address(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::HostNotFound => true,
        ureq::Error::Io(e) => e.to_string().contains("lookup address"),
        _ => false,
    }
}
