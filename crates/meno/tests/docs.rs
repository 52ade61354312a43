//! The documents name only files that exist, and no paths of the machine on which they were written.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use std::path::{Path, PathBuf};

/// Every `back-quoted/path` of the text: directories, and files with a known extension; `a/{b,c}.rs` is two. Commands
/// and placeholders are excluded.
fn paths(text: &str) -> impl Iterator<Item = String> {
    let known = [".rs", ".md", ".toml", ".py"];
    let named = text.split('`').skip(1).step_by(2).filter(move |s| {
        s.contains('/')
            && !s.contains([' ', '…', '*', '<', '$'])
            && (s.ends_with('/') || known.iter().any(|e| s.ends_with(e)))
    });
    named.flat_map(alternatives)
}

/// Expands the braces of a path.
fn alternatives(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else { return vec![path.to_owned()] };
    let (names, after) = rest.split_once('}').unwrap();
    names.split(',').map(|name| format!("{before}{name}{after}")).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn missing(document: &str, at_least: usize) -> Vec<String> {
    let root = root();
    let text = std::fs::read_to_string(root.join(document)).unwrap();
    // In the README's table, a bare `tiny/` means a directory inside that of the row above.
    let named: Vec<_> = paths(&text).filter(|p| p != "tiny/").collect();
    assert!(named.len() >= at_least, "{document} names {} files", named.len());
    named.into_iter().filter(|p| !root.join(p).exists()).collect()
}

#[test]
fn every_path_in_the_paper_map_exists() {
    assert_eq!(missing("docs/paper-map.md", 30), Vec::<String>::new());
}

#[test]
fn every_path_in_the_readme_exists() {
    assert_eq!(missing("README.md", 8), Vec::<String>::new());
}

/// Paths from the root in all other documents. The log and the changelog name files of their time.
#[test]
fn every_path_in_the_documents_exists() {
    assert_eq!(alternatives("a/{b,c}.rs"), ["a/b.rs", "a/c.rs"]);
    let (mut named, mut missing) = (0, Vec::new());
    for (document, text) in published() {
        let name = document.file_name().unwrap().to_str().unwrap();
        if !name.ends_with(".md") || ["log.md", "CHANGELOG.md"].contains(&name) {
            continue;
        }
        let from_root = ["crates/", "dev/", "docs/", "recipes/", "fuzz/"];
        for path in paths(&text).filter(|p| from_root.iter().any(|r| p.starts_with(r))) {
            named += 1;
            if !root().join(&path).exists() {
                missing.push(format!("{}: {path}", document.display()));
            }
        }
    }
    assert!(named > 100, "{named}");
    assert_eq!(missing, Vec::<String>::new());
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
