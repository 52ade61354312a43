//! The documents name only files that exist, and no paths of the machine on which they were written.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use std::path::{Path, PathBuf};

/// Every `back-quoted/path` of the text: directories, and files with a known extension. Commands and
/// placeholders are excluded.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let known = [".rs", ".md", ".toml", ".py"];
    text.split('`').skip(1).step_by(2).filter(move |s| {
        s.contains('/')
            && !s.contains([' ', '…', '*', '<', '{', '$', ','])
            && (s.ends_with('/') || known.iter().any(|e| s.ends_with(e)))
    })
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn missing(document: &str, at_least: usize) -> Vec<String> {
    let root = root();
    let text = std::fs::read_to_string(root.join(document)).unwrap();
    // In the README's table, a bare `tiny/` means a directory inside that of the row above.
    let named: Vec<_> = paths(&text).filter(|p| p.contains('/') && *p != "tiny/").collect();
    assert!(named.len() >= at_least, "{document} names {} files", named.len());
    named.into_iter().filter(|p| !root.join(p).exists()).map(str::to_owned).collect()
}

#[test]
fn every_path_in_the_paper_map_exists() {
    assert_eq!(missing("docs/paper-map.md", 30), Vec::<String>::new());
}

#[test]
fn every_path_in_the_readme_exists() {
    assert_eq!(missing("README.md", 8), Vec::<String>::new());
}

/// The texts published with the code: those of the root, of `docs/` and of `recipes/`.
fn published() -> Vec<(PathBuf, String)> {
    let mut folders = vec![root(), root().join("docs"), root().join("recipes")];
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()) {
            let known = ["md", "html", "cff", "toml", "json", "jsonl", "svg", "sh"];
            if entry.is_dir() && folder.ends_with("recipes") {
                folders.push(entry);
            } else if entry.extension().is_some_and(|e| known.iter().any(|k| e == *k)) {
                let text = std::fs::read_to_string(&entry).unwrap();
                texts.push((entry, text));
            }
        }
    }
    texts
}

/// The absolute paths in a text that point to a place where one person's files are kept.
fn of_one_machine(text: &str) -> Vec<String> {
    let text = text.replace("&#x2f;", "/").replace("&#x2F;", "/").replace("&#47;", "/");
    let mut found = Vec::new();
    for place in ["/tmp/", "/home/", "/work/", "/root/", "/Users/", "/mnt/"] {
        for (at, _) in text.match_indices(place) {
            // Not absolute: part of a longer path or an address, such as `runs/tmp/` or `https://site/home/`.
            let inside = text[..at].ends_with(|c: char| c.is_alphanumeric() || "._-~}/…".contains(c));
            let end = text[at..].find(|c: char| c.is_whitespace() || "<`\"'".contains(c)).unwrap_or(text.len() - at);
            if !inside {
                found.push(text[at..at + end].to_owned());
            }
        }
    }
    found
}

#[test]
fn no_document_names_a_place_of_one_machine() {
    assert_eq!(of_one_machine("<code>&#x2f;tmp&#x2f;old run</code>, `/home/a/b`"), ["/tmp/old", "/home/a/b"]);
    assert_eq!(of_one_machine("<td>/root/x</td> https://a.b/home/c runs/tmp/d /tmpfs/"), ["/root/x"]);
    let texts = published();
    assert!(texts.len() > 30, "{} texts", texts.len());
    for (path, text) in texts {
        assert_eq!(of_one_machine(&text), Vec::<String>::new(), "{}", path.display());
    }
}

#[test]
fn the_sample_report_leads_to_files_of_the_repository() {
    let text = std::fs::read_to_string(root().join("docs/sample-report.html")).unwrap();
    let addresses = text.split(" href=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    let outside = |a: &&str| !["https:", "data:", "#"].iter().any(|p| a.starts_with(p));
    let files: Vec<_> = addresses.filter(outside).map(|a| a.split('#').next().unwrap()).collect();
    assert!(files.len() > 11, "every claim has one: {files:?}");
    for file in files {
        assert!(root().join("docs").join(file).is_file(), "{file}");
    }
}
