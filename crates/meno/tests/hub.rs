//! `meno pull` and `-m ORG/NAME` against a small server that speaks the hub's protocol.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What the server does wrong.
#[derive(Clone, Default)]
struct Faults {
    /// Bytes after which the connections of large files break off, one by one.
    breaks: Vec<usize>,
    /// Large files have another first byte than the listing says.
    altered: bool,
    /// Ranges are ignored.
    no_ranges: bool,
    /// Everything is answered with this status and this error code.
    refuse: Option<(u16, &'static str)>,
}

/// A repository `org/tiny` by the names of its files.
struct Hub {
    address: String,
    /// Each request: its line, and the Range and Authorization headers.
    requests: Arc<Mutex<Vec<[String; 3]>>>,
}

impl Hub {
    fn start(files: &[(&str, Vec<u8>)], faults: Faults) -> Hub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let files: BTreeMap<String, Vec<u8>> = files.iter().map(|f| (f.0.to_owned(), f.1.clone())).collect();
        let (seen, faults) = (requests.clone(), Mutex::new(faults));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that went away is not the server's end.
                let _ = answer(stream.unwrap(), &files, &faults, &seen);
            }
        });
        Hub { address, requests }
    }

    fn lines(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|r| r[0].clone()).collect()
    }

    fn run(&self, home: &Path, args: &[&str]) -> Output {
        meno(home, args).env("HF_ENDPOINT", &self.address).output().unwrap()
    }
}

fn meno(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meno"));
    command.args(args).env("HF_HOME", home);
    for key in ["HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"] {
        command.env_remove(key);
    }
    command
}

/// Files of this size and more are kept apart, as LFS does, behind a redirect.
const LARGE: usize = 1000;

fn git_id(content: &[u8]) -> String {
    let mut object = format!("blob {}\0", content.len()).into_bytes();
    object.extend_from_slice(content);
    hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, &object).as_ref())
}

fn sha256(content: &[u8]) -> String {
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
    if path == "/api/models/org/tiny/revision/main?blobs=true" {
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

/// Bytes that are nowhere the same.
fn bytes(n: usize) -> Vec<u8> {
    (0..n as u32).flat_map(|i| i.wrapping_mul(2654435761).to_le_bytes()).take(n).collect()
}

fn ok(output: &Output) -> PathBuf {
    assert!(output.status.success(), "{}", stderr(output));
    PathBuf::from(text(&output.stdout).trim())
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn stderr(output: &Output) -> String {
    text(&output.stderr)
}

fn repo(home: &Path) -> PathBuf {
    home.join("hub/models--org--tiny")
}

#[test]
fn a_gguf_file_comes_into_the_shared_cache_once() {
    let (home, content) = (tempfile::tempdir().unwrap(), bytes(300_000));
    let files = [("tiny-Q4_K_M.gguf", content.clone()), ("tiny-Q8_0.gguf", bytes(2000)), ("README.md", b"hi".to_vec())];
    let hub = Hub::start(&files, Faults::default());
    let path = ok(&hub.run(home.path(), &["pull", "org/tiny:q4_k_m"]));
    // Python's layout: the content by its digest, a relative link by its name, the commit by the branch.
    assert_eq!(path, repo(home.path()).join("snapshots").join(COMMIT).join("tiny-Q4_K_M.gguf"));
    assert_eq!(std::fs::read_link(&path).unwrap(), Path::new("../../blobs").join(sha256(&content)));
    assert_eq!(std::fs::read(&path).unwrap(), content);
    assert_eq!(std::fs::read_to_string(repo(home.path()).join("refs/main")).unwrap(), COMMIT);
    let asked = hub.lines();
    assert_eq!(asked.len(), 3, "the listing, the file, the redirect: {asked:?}");
    // Again: only the listing is asked for.
    assert_eq!(ok(&hub.run(home.path(), &["pull", "org/tiny:Q4_K_M"])), path);
    assert_eq!(hub.lines().len(), 4);
    // Offline: from the cache, or an error that names what it lacks.
    let offline = |name: &str| meno(home.path(), &["pull", name]).env("HF_HUB_OFFLINE", "1").output().unwrap();
    assert_eq!(ok(&offline("org/tiny:Q4_K_M")), path);
    assert!(refused(&offline("org/tiny:Q8_0")).contains("HF_HUB_OFFLINE"));
    // No server at all: the same, with a note about it.
    let away =
        |name: &str| meno(home.path(), &["pull", name]).env("HF_ENDPOINT", "http://127.0.0.1:9").output().unwrap();
    assert_eq!(ok(&away("org/tiny:Q4_K_M")), path);
    assert!(refused(&away("org/tiny:Q8_0")).contains("cannot reach http://127.0.0.1:9"));
}

#[test]
fn a_broken_connection_goes_on_where_it_broke() {
    let (home, content) = (tempfile::tempdir().unwrap(), bytes(300_000));
    let files = [("a-Q8_0.gguf", content.clone())];
    let hub = Hub::start(&files, Faults { breaks: vec![100_000, 0, 50_000], ..Faults::default() });
    let path = ok(&hub.run(home.path(), &["pull", "org/tiny"]));
    assert_eq!(std::fs::read(path).unwrap(), content);
    let ranges: Vec<String> =
        hub.requests.lock().unwrap().iter().filter(|r| r[0].contains("/cdn/")).map(|r| r[1].clone()).collect();
    assert_eq!(ranges, ["", "bytes=100000-", "bytes=100000-", "bytes=150000-"]);
}

#[test]
fn what_an_earlier_run_left_is_taken_up_unless_it_is_wrong() {
    let content = bytes(300_000);
    let files = [("a-Q8_0.gguf", content.clone())];
    let mut wrong = content[..1000].to_vec();
    wrong[7] ^= 1;
    for (left, faults, expected) in [
        (content[..1000].to_vec(), Faults::default(), vec!["bytes=1000-"]),
        (wrong, Faults::default(), vec!["bytes=1000-", ""]),
        (content[..1000].to_vec(), Faults { no_ranges: true, ..Faults::default() }, vec!["bytes=1000-"]),
        (bytes(300_001), Faults::default(), vec![""]),
        (content.clone(), Faults::default(), vec![]),
    ] {
        let home = tempfile::tempdir().unwrap();
        let hub = Hub::start(&files, faults);
        let blobs = repo(home.path()).join("blobs");
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::write(blobs.join(format!("{}.incomplete", sha256(&content))), &left).unwrap();
        let path = ok(&hub.run(home.path(), &["pull", "org/tiny"]));
        assert_eq!(std::fs::read(path).unwrap(), content);
        let asked = hub.requests.lock().unwrap();
        let ranges: Vec<&str> = asked.iter().filter(|r| r[0].contains("/cdn/")).map(|r| r[1].as_str()).collect();
        assert_eq!(ranges, expected);
    }
}

#[test]
fn a_wrong_checksum_is_an_error_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let files = [("a-Q8_0.gguf", bytes(5000))];
    let hub = Hub::start(&files, Faults { altered: true, ..Faults::default() });
    let message = refused(&hub.run(home.path(), &["pull", "org/tiny"]));
    assert!(
        message.contains("a-Q8_0.gguf") && message.contains("digest") && message.contains("try again"),
        "{message}"
    );
    assert_eq!(std::fs::read_dir(repo(home.path()).join("blobs")).unwrap().count(), 0);
    assert!(!repo(home.path()).join("refs/main").exists());
}

#[test]
fn refusals_say_what_mends_them() {
    let home = tempfile::tempdir().unwrap();
    let files = [("a-Q8_0.gguf", bytes(5000)), ("a-F16.gguf", bytes(10)), ("notes.txt", bytes(3))];
    for (refuse, words) in [
        ((403, "GatedRepo"), ["gated", "accept its terms", "HF_TOKEN"]),
        ((401, "RepoNotFound"), ["has no model org/tiny", "private", "HF_TOKEN"]),
        ((404, ""), ["has no model org/tiny", "private", "HF_TOKEN"]),
        ((404, "RevisionNotFound"), ["org/tiny", "RevisionNotFound", "127.0.0.1"]),
        ((503, ""), ["cannot reach", "503", "not in the cache"]),
    ] {
        let hub = Hub::start(&files, Faults { refuse: Some(refuse), ..Faults::default() });
        let message = refused(&hub.run(home.path(), &["pull", "org/tiny"]));
        assert!(words.iter().all(|w| message.contains(w)), "{refuse:?}: {message}");
    }
    let hub = Hub::start(&files, Faults::default());
    let message = refused(&hub.run(home.path(), &["pull", "org/tiny:Q5_K_M"]));
    assert!(["Q5_K_M", "a-Q8_0.gguf", "a-F16.gguf"].iter().all(|w| message.contains(w)), "{message}");
    assert!(refused(&hub.run(home.path(), &["pull", "nonsense"])).contains("ORG/NAME"));
    assert!(refused(&hub.run(home.path(), &["generate", "-m", "./no/such", "-p", "x"])).contains("ORG/NAME"));
    // A slip beside a directory that is here does not go to the hub.
    std::fs::create_dir_all(home.path().join("runs")).unwrap();
    let asked = hub.lines().len();
    let slip = meno(home.path(), &["generate", "-m", "runs/typo", "-p", "x"])
        .env("HF_ENDPOINT", &hub.address)
        .current_dir(home.path())
        .output()
        .unwrap();
    assert!(refused(&slip).contains("No such file"));
    assert_eq!(hub.lines().len(), asked);
    // The token goes to the hub.
    let output =
        meno(home.path(), &["pull", "org/tiny"]).env("HF_ENDPOINT", &hub.address).env("HF_TOKEN", "hf_x").output();
    ok(&output.unwrap());
    assert!(hub.requests.lock().unwrap().iter().any(|r| r[2] == "Bearer hf_x"));
}

#[test]
fn a_name_stands_wherever_a_path_does() {
    let home = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../meno-model/tests/golden/qwen2");
    let mut files = Vec::new();
    for name in ["config.json", "model.safetensors"] {
        files.push((name, std::fs::read(source.join(name)).unwrap()));
    }
    let hub = Hub::start(&files, Faults::default());
    let inspect = |hub: &Hub| hub.run(home.path(), &["inspect", "org/tiny"]);
    let first = inspect(&hub);
    ok(&first);
    assert!(String::from_utf8_lossy(&first.stdout).contains("qwen2"));
    let asked = hub.lines().len();
    // The cache holds it whole: nothing is asked.
    assert_eq!(inspect(&hub).stdout, first.stdout);
    assert_eq!(hub.lines().len(), asked);
    // The small file is checked by Git's object id, the large one by SHA-256.
    let blobs = repo(home.path()).join("blobs");
    assert!(blobs.join(sha256(&files[1].1)).is_file());
    let small = &files[0].1;
    assert!(blobs.join(if small.len() < LARGE { git_id(small) } else { sha256(small) }).is_file());
}

/// A cache with two commits of a repository; a link in it leads out of the cache.
#[cfg(unix)]
fn cache(home: &Path) -> PathBuf {
    use std::os::unix::fs::symlink;
    let repo = home.join("hub/models--org--tiny");
    for directory in ["blobs", "refs", "snapshots/c0ffee00", "snapshots/deadbeef"] {
        std::fs::create_dir_all(repo.join(directory)).unwrap();
    }
    std::fs::write(repo.join("refs/main"), "c0ffee00").unwrap();
    for (blob, size) in [("four", 4000), ("eight", 8000), ("old", 500)] {
        std::fs::write(repo.join("blobs").join(blob), vec![7; size]).unwrap();
    }
    std::fs::write(home.join("outside.gguf"), "mine").unwrap();
    for (commit, file, blob) in [
        ("c0ffee00", "m-Q4_K_M.gguf", "../../blobs/four"),
        ("c0ffee00", "m-Q8_0.gguf", "../../blobs/eight"),
        ("c0ffee00", "m-Q2_K.gguf", "../../../../outside.gguf"),
        ("deadbeef", "m-Q4_K_M.gguf", "../../blobs/four"),
        ("deadbeef", "m-Q3_K_M.gguf", "../../blobs/old"),
    ] {
        symlink(blob, repo.join("snapshots").join(commit).join(file)).unwrap();
    }
    repo
}

#[cfg(unix)]
fn names(home: &Path) -> Vec<String> {
    let output = meno(home, &["list", "--json"]).output().unwrap();
    let models: Value = serde_json::from_slice(&output.stdout).unwrap();
    models.as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap().to_owned()).collect()
}

#[cfg(unix)]
#[test]
fn what_the_cache_holds_is_listed_as_it_is_named() {
    let home = tempfile::tempdir().unwrap();
    let empty = meno(home.path(), &["list"]).output().unwrap();
    assert!(empty.status.success() && empty.stdout.is_empty(), "{}", stderr(&empty));
    let repo = cache(home.path());
    let at = |name: &str| format!("org/tiny:{name}");
    let all = ["Q2_K", "Q3_K_M@deadbeef", "Q4_K_M", "Q4_K_M@deadbeef", "Q8_0"].map(at);
    assert_eq!(names(home.path()), all);
    let table = meno(home.path(), &["list"]).output().unwrap();
    let line = text(&table.stdout).lines().find(|l| l.starts_with("org/tiny:Q8_0 ")).unwrap().to_owned();
    let path = repo.join("snapshots/c0ffee00/m-Q8_0.gguf").display().to_string();
    assert!(line.contains("8.0 kB") && line.contains("just now") && line.ends_with(&path), "{line}");
}

#[cfg(unix)]
#[test]
fn removing_a_model_leaves_what_others_use_and_what_is_not_the_caches() {
    let home = tempfile::tempdir().unwrap();
    let repo = cache(home.path());
    let remove = |args: &[&str]| meno(home.path(), &[&["rm"], args].concat()).stdin(Stdio::null()).output().unwrap();
    let there = |path: &str| repo.join(path).symlink_metadata().is_ok();
    // Without a terminal it cannot ask; an error about a wrong name lists the right ones.
    let output = remove(&["org/tiny"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--yes") && there("blobs/four"), "{}", stderr(&output));
    for (name, expected) in [("org/tiny:Q6_K", "org/tiny:Q8_0"), ("org/other", "meno list"), ("../x", "ORG/NAME")] {
        let output = remove(&["--yes", "org/tiny:Q8_0", name]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(stderr(&output).contains(expected) && there("blobs/eight"), "{name}: {}", stderr(&output));
    }
    assert!(remove(&["--yes", "org/tiny:Q8_0"]).status.success());
    assert!(!there("blobs/eight") && !there("snapshots/c0ffee00/m-Q8_0.gguf") && there("blobs/four"));
    // The link goes, what it leads to stays.
    assert!(remove(&["--yes", "org/tiny:q2_k"]).status.success());
    assert!(!there("snapshots/c0ffee00/m-Q2_K.gguf"));
    assert_eq!(std::fs::read_to_string(home.path().join("outside.gguf")).unwrap(), "mine");
    // An old commit goes with what only it used.
    let output = remove(&["-y", "org/tiny@deadbeef"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!there("snapshots/deadbeef") && !there("blobs/old") && there("blobs/four"));
    assert_eq!(names(home.path()), ["org/tiny:Q4_K_M"]);
    assert!(remove(&["-y", "org/tiny"]).status.success());
    assert!(!repo.exists() && home.path().join("hub").exists());
}
