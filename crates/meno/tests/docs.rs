//! The documents name files that exist.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use std::path::Path;

/// Every `back-quoted/path` of the text: folders, and files with a known ending; no commands, no placeholders.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let known = [".rs", ".md", ".toml", ".py"];
    text.split('`').skip(1).step_by(2).filter(move |s| {
        s.contains('/')
            && !s.contains([' ', '…', '*', '<', '{', '$', ','])
            && (s.ends_with('/') || known.iter().any(|e| s.ends_with(e)))
    })
}

fn missing(document: &str, at_least: usize) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(root.join(document)).unwrap();
    // A bare `tiny/` in the README's table stands for a folder of the row above it.
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
