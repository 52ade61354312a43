//! A small server that implements the hub's protocol, with faults on request.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The commit of the repository.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// A tag of the commit.
pub(crate) const TAG: &str = "v1";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Faults of the server.
#[derive(Clone, Default)]
pub(crate) struct Faults {
    /// Connections for large files break after these numbers of bytes, one after the other.
    pub breaks: Vec<usize>,
    /// Large files differ from the listing in their first byte.
    pub altered: bool,
    /// Range requests are ignored.
    pub no_ranges: bool,
    /// Every request gets this status and this error code.
    pub refuse: Option<(u16, &'static str)>,
}

/// A repository `org/tiny` with files by name.
pub(crate) struct HubServer {
    /// Its address, for HF_ENDPOINT.
    pub address: String,
    /// For each request: its request line, and the Range and Authorization headers.
    pub requests: Arc<Mutex<Vec<[String; 3]>>>,
}

impl HubServer {
    /// Starts a server with these files.
    pub(crate) fn start(files: &[(&str, Vec<u8>)], faults: Faults) -> HubServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let files: BTreeMap<String, Vec<u8>> = files.iter().map(|f| (f.0.to_owned(), f.1.clone())).collect();
        let (seen, faults) = (requests.clone(), Mutex::new(faults));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that has disconnected must not end the server.
                let _ = answer(stream.unwrap(), &files, &faults, &seen);
            }
        });
        HubServer { address, requests }
    }

    /// The request lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|r| r[0].clone()).collect()
    }
}

/// Files of at least this size are stored separately, behind a redirect, as LFS does.
pub(crate) const LARGE: usize = 1000;

/// Git's object id.
pub(crate) fn git_id(content: &[u8]) -> String {
    let mut object = format!("blob {}\0", content.len()).into_bytes();
    object.extend_from_slice(content);
    hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, &object).as_ref())
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(content: &[u8]) -> String {
    hex(digest(&SHA256, content).as_ref())
}

fn listing(files: &BTreeMap<String, Vec<u8>>) -> Value {
    let sibling = |(name, content): (&String, &Vec<u8>)| {
        let mut entry = json!({"rfilename": name, "size": content.len(), "blobId": git_id(content)});
        if content.len() >= LARGE {
            entry["lfs"] = json!({"sha256": sha256(content), "size": content.len(), "pointerSize": 130});
        }
        entry
    };
    json!({"id": "org/tiny", "sha": COMMIT, "siblings": files.iter().map(sibling).collect::<Vec<_>>()})
}

fn answer(
    mut stream: TcpStream,
    files: &BTreeMap<String, Vec<u8>>,
    faults: &Mutex<Faults>,
    seen: &Mutex<Vec<[String; 3]>>,
) -> std::io::Result<()> {
    let mut request = [String::new(), String::new(), String::new()];
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?;
        match line.split_once(": ") {
            _ if line.is_empty() => break,
            Some((key, value)) if key.eq_ignore_ascii_case("range") => request[1] = value.to_owned(),
            Some((key, value)) if key.eq_ignore_ascii_case("authorization") => request[2] = value.to_owned(),
            None => request[0] = line,
            _ => {}
        }
    }
    let range = request[1].strip_prefix("bytes=").and_then(|r| r.strip_suffix('-')?.parse::<usize>().ok());
    let path = request[0].split(' ').nth(1).unwrap_or_default().to_owned();
    seen.lock().unwrap().push(request);
    let mut head = |status: &str, more: &str, length: usize| {
        write!(stream, "HTTP/1.1 {status}\r\n{more}content-length: {length}\r\nconnection: close\r\n\r\n")?;
        stream.try_clone()
    };
    let mut faults = faults.lock().unwrap();
    if let Some((status, code)) = faults.refuse {
        return head(&format!("{status} No"), &format!("x-error-code: {code}\r\n"), 0).map(drop);
    }
    let revision = path.strip_prefix("/api/models/org/tiny/revision/").and_then(|p| p.strip_suffix("?blobs=true"));
    if revision.is_some_and(|r| !["main", TAG, COMMIT].contains(&r)) {
        return head("404 Not Found", "x-error-code: RevisionNotFound\r\n", 0).map(drop);
    }
    if revision.is_some() {
        let body = listing(files).to_string();
        return head("200 OK", "", body.len())?.write_all(body.as_bytes());
    }
    let resolve = format!("/org/tiny/resolve/{COMMIT}/");
    if let Some(content) = path.strip_prefix(&resolve).and_then(|name| files.get(name)) {
        if content.len() >= LARGE {
            let name = path.strip_prefix(&resolve).unwrap_or_default();
            return head("302 Found", &format!("location: /cdn/{name}\r\n"), 0).map(drop);
        }
        return head("200 OK", "", content.len())?.write_all(content);
    }
    let Some(content) = path.strip_prefix("/cdn/").and_then(|name| files.get(name)) else {
        return head("404 Not Found", "x-error-code: RepoNotFound\r\n", 0).map(drop);
    };
    let mut content = content.clone();
    if faults.altered {
        content[0] ^= 1;
    }
    let from = range.filter(|_| !faults.no_ranges).unwrap_or(0);
    let until =
        if faults.breaks.is_empty() { content.len() } else { content.len().min(from + faults.breaks.remove(0)) };
    let of = content.len();
    let mut out = if range.is_some() && !faults.no_ranges {
        head("206 Partial Content", &format!("content-range: bytes {from}-{}/{of}\r\n", of - 1), of - from)?
    } else {
        head("200 OK", "", of)?
    };
    out.write_all(&content[from..until])
}

/// Bytes without repetition.
pub(crate) fn bytes(n: usize) -> Vec<u8> {
    (0..n as u32).flat_map(|i| i.wrapping_mul(2654435761).to_le_bytes()).take(n).collect()
}
