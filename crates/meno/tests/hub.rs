//! `meno pull` and `-m ORG/NAME` against a small server that implements the hub's protocol.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

#[path = "common/hub_server.rs"]
mod hub_server;

use hub_server::{COMMIT, Faults, HubServer, LARGE, bytes, git_id, sha256};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn run(hub: &HubServer, home: &Path, args: &[&str]) -> Output {
    meno(home, args).env("HF_ENDPOINT", &hub.address).output().unwrap()
}

fn meno(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meno"));
    command.args(args).env("HF_HOME", home);
    for key in ["HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"] {
        command.env_remove(key);
    }
    command
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
    let hub = HubServer::start(&files, Faults::default());
    let path = ok(&run(&hub, home.path(), &["pull", "org/tiny:q4_k_m"]));
    // Python's layout: the content under its digest, a relative link under its name, the commit under the branch.
    assert_eq!(path, repo(home.path()).join("snapshots").join(COMMIT).join("tiny-Q4_K_M.gguf"));
    assert_eq!(std::fs::read_link(&path).unwrap(), Path::new("../../blobs").join(sha256(&content)));
    assert_eq!(std::fs::read(&path).unwrap(), content);
    assert_eq!(std::fs::read_to_string(repo(home.path()).join("refs/main")).unwrap(), COMMIT);
    let asked = hub.lines();
    assert_eq!(asked.len(), 3, "the listing, the file, the redirect: {asked:?}");
    // A second pull requests only the listing.
    assert_eq!(ok(&run(&hub, home.path(), &["pull", "org/tiny:Q4_K_M"])), path);
    assert_eq!(hub.lines().len(), 4);
    // Offline: the model comes from the cache, or the error says what is missing.
    let offline = |name: &str| meno(home.path(), &["pull", name]).env("HF_HUB_OFFLINE", "1").output().unwrap();
    assert_eq!(ok(&offline("org/tiny:Q4_K_M")), path);
    assert!(refused(&offline("org/tiny:Q8_0")).contains("HF_HUB_OFFLINE"));
    // Without a server: the same, with a message about it.
    let away =
        |name: &str| meno(home.path(), &["pull", name]).env("HF_ENDPOINT", "http://127.0.0.1:9").output().unwrap();
    assert_eq!(ok(&away("org/tiny:Q4_K_M")), path);
    assert!(refused(&away("org/tiny:Q8_0")).contains("cannot reach http://127.0.0.1:9"));
}

#[test]
fn a_broken_connection_goes_on_where_it_broke() {
    let (home, content) = (tempfile::tempdir().unwrap(), bytes(300_000));
    let files = [("a-Q8_0.gguf", content.clone())];
    let hub = HubServer::start(&files, Faults { breaks: vec![100_000, 0, 50_000], ..Faults::default() });
    let path = ok(&run(&hub, home.path(), &["pull", "org/tiny"]));
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
        let hub = HubServer::start(&files, faults);
        let blobs = repo(home.path()).join("blobs");
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::write(blobs.join(format!("{}.incomplete", sha256(&content))), &left).unwrap();
        let path = ok(&run(&hub, home.path(), &["pull", "org/tiny"]));
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
    let hub = HubServer::start(&files, Faults { altered: true, ..Faults::default() });
    let message = refused(&run(&hub, home.path(), &["pull", "org/tiny"]));
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
        ((503, ""), ["cannot reach", "503", "nor in the cache"]),
    ] {
        let hub = HubServer::start(&files, Faults { refuse: Some(refuse), ..Faults::default() });
        let message = refused(&run(&hub, home.path(), &["pull", "org/tiny"]));
        assert!(words.iter().all(|w| message.contains(w)), "{refuse:?}: {message}");
    }
    let hub = HubServer::start(&files, Faults::default());
    let message = refused(&run(&hub, home.path(), &["pull", "org/tiny:Q5_K_M"]));
    assert!(["Q5_K_M", "a-Q8_0.gguf", "a-F16.gguf"].iter().all(|w| message.contains(w)), "{message}");
    assert!(refused(&run(&hub, home.path(), &["pull", "nonsense"])).contains("ORG/NAME"));
    assert!(refused(&run(&hub, home.path(), &["generate", "-m", "./no/such", "-p", "x"])).contains("ORG/NAME"));
    // If a local directory matches, a typo does not cause a request to the hub.
    std::fs::create_dir_all(home.path().join("runs")).unwrap();
    let asked = hub.lines().len();
    let slip = meno(home.path(), &["generate", "-m", "runs/typo", "-p", "x"])
        .env("HF_ENDPOINT", &hub.address)
        .current_dir(home.path())
        .output()
        .unwrap();
    assert!(refused(&slip).contains("No such file"));
    assert_eq!(hub.lines().len(), asked);
    // The hub receives the token.
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
    let hub = HubServer::start(&files, Faults::default());
    let inspect = |hub: &HubServer| run(hub, home.path(), &["inspect", "org/tiny"]);
    let first = inspect(&hub);
    ok(&first);
    assert!(String::from_utf8_lossy(&first.stdout).contains("qwen2"));
    let asked = hub.lines().len();
    // The cache holds the entire model, so no request is made.
    assert_eq!(inspect(&hub).stdout, first.stdout);
    assert_eq!(hub.lines().len(), asked);
    // The small file is checked against Git's object id, the large one against SHA-256.
    let blobs = repo(home.path()).join("blobs");
    assert!(blobs.join(sha256(&files[1].1)).is_file());
    let small = &files[0].1;
    assert!(blobs.join(if small.len() < LARGE { git_id(small) } else { sha256(small) }).is_file());
}

/// A cache with two commits of a repository; one link in it leads out of the cache.
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
    // Without a terminal it cannot ask; the error for a wrong name lists the right names.
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
    // The link is removed; its target stays.
    assert!(remove(&["--yes", "org/tiny:q2_k"]).status.success());
    assert!(!there("snapshots/c0ffee00/m-Q2_K.gguf"));
    assert_eq!(std::fs::read_to_string(home.path().join("outside.gguf")).unwrap(), "mine");
    // An old commit is removed together with the blobs that only it used.
    let output = remove(&["-y", "org/tiny@deadbeef"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!there("snapshots/deadbeef") && !there("blobs/old") && there("blobs/four"));
    assert_eq!(names(home.path()), ["org/tiny:Q4_K_M"]);
    assert!(remove(&["-y", "org/tiny"]).status.success());
    assert!(!repo.exists() && home.path().join("hub").exists());
}
