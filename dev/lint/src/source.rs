//! Reads the files that the rules look at: Rust sources, manifests and Markdown documents.

use crate::modules::Tree;
use crate::rust_file::RustFile;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Directories below the root that are searched for Rust sources and manifests.
const SOURCE_DIRS: [&str; 3] = ["crates", "dev", "fuzz"];

/// The parsed workspace. Paths are relative to its root and use `/`.
pub struct Workspace {
    /// Every Rust source file.
    pub files: Vec<RustFile>,
    /// Every package, sorted by directory.
    pub packages: Vec<Package>,
    /// Markdown documents: path and text.
    pub documents: Vec<(String, String)>,
    /// One module tree per library, program, test, benchmark and example.
    pub trees: Vec<Tree>,
}

/// A package: a directory with a `Cargo.toml` that has a `[package]` section.
pub struct Package {
    /// The name in the manifest.
    pub name: String,
    /// The directory from the workspace root.
    pub dir: String,
    /// The parsed manifest.
    pub manifest: toml::Table,
    /// The text of the manifest, to find line numbers in.
    pub manifest_text: String,
}

impl Package {
    /// The path of the manifest from the workspace root.
    pub fn manifest_path(&self) -> String {
        format!("{}/Cargo.toml", self.dir)
    }
}

impl Workspace {
    /// Reads the workspace at `root`.
    ///
    /// # Errors
    /// If a file cannot be read, or a Rust file or manifest cannot be parsed.
    pub fn read(root: &Path) -> Result<Workspace, String> {
        let mut texts = BTreeMap::new();
        for dir in SOURCE_DIRS {
            read_dir(root, dir, true, &mut |name| name.ends_with(".rs") || name == "Cargo.toml", &mut texts)?;
        }
        for (dir, deep) in [("", false), ("docs", true), ("fuzz", false), ("recipes", false)] {
            read_dir(root, dir, deep, &mut |name| name.ends_with(".md"), &mut texts)?;
        }
        Workspace::from_texts(texts)
    }

    /// Parses a workspace given as paths and texts.
    ///
    /// # Errors
    /// If a Rust file or manifest cannot be parsed.
    pub fn from_texts(texts: BTreeMap<String, String>) -> Result<Workspace, String> {
        let mut workspace =
            Workspace { files: Vec::new(), packages: Vec::new(), documents: Vec::new(), trees: Vec::new() };
        for (path, text) in texts {
            if path.ends_with(".rs") {
                let syntax = syn::parse_file(&text)
                    .map_err(|e| format!("{path}:{}: not valid Rust: {e}", e.span().start().line))?;
                let test_only = path.split('/').any(|part| part == "tests");
                workspace.files.push(RustFile { path, text, syntax, test_only });
            } else if path.ends_with("Cargo.toml") {
                workspace.packages.extend(package(&path, text)?);
            } else {
                workspace.documents.push((path, text));
            }
        }
        workspace.build_trees();
        Ok(workspace)
    }

    /// Builds the module tree of every crate root and marks the files that only `#[cfg(test)]` reaches.
    fn build_trees(&mut self) {
        let roots: Vec<usize> = (0..self.files.len()).filter(|&i| self.is_root(&self.files[i].path)).collect();
        self.trees = roots.into_iter().map(|root| Tree::build(&self.files, root)).collect();
        let modules = || self.trees.iter().flat_map(|tree| &tree.modules);
        let used: BTreeSet<usize> = modules().filter(|m| !m.test_only).map(|m| m.file).collect();
        let tests: BTreeSet<usize> = modules().filter(|m| m.test_only).map(|m| m.file).collect();
        for &file in tests.difference(&used) {
            self.files[file].test_only = true;
        }
    }

    /// Returns true if `path` is where Cargo starts to compile a library, program, test, benchmark or example.
    fn is_root(&self, path: &str) -> bool {
        self.packages.iter().any(|package| {
            let Some(inside) = path.strip_prefix(&format!("{}/", package.dir)) else { return false };
            let parts: Vec<&str> = inside.split('/').collect();
            let single = matches!(parts[..], ["build.rs"] | ["src", "lib.rs" | "main.rs"]);
            let listed = match parts[..] {
                ["src", "bin", ref rest @ ..] => rest,
                ["tests" | "benches" | "examples" | "fuzz_targets", ref rest @ ..] => rest,
                _ => &[],
            };
            single || matches!(listed, [_] | [_, "main.rs"])
        })
    }
}

/// Parses a manifest; `None` if it describes no package.
fn package(path: &str, text: String) -> Result<Option<Package>, String> {
    let manifest: toml::Table = toml::from_str(&text).map_err(|e| format!("{path}: {e}"))?;
    let name = manifest.get("package").and_then(|p| p.get("name")).and_then(|n| n.as_str()).map(str::to_owned);
    let dir = path.trim_end_matches("Cargo.toml").trim_end_matches('/').to_owned();
    Ok(name.map(|name| Package { name, dir, manifest, manifest_text: text }))
}

/// Reads the files in `root/dir` whose name is `wanted` into `texts`, with subdirectories if `deep`. Hidden entries,
/// build output and installed Node packages are skipped; a directory that does not exist counts as empty.
fn read_dir(
    root: &Path,
    dir: &str,
    deep: bool,
    wanted: &mut dyn FnMut(&str) -> bool,
    texts: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    let Ok(entries) = std::fs::read_dir(root.join(dir)) else { return Ok(()) };
    for entry in entries {
        let entry = entry.map_err(|e| format!("{dir}: {e}"))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || ["target", "node_modules", "runs"].contains(&name.as_str()) {
            continue;
        }
        let path = if dir.is_empty() { name.clone() } else { format!("{dir}/{name}") };
        if entry.path().is_dir() {
            if deep {
                read_dir(root, &path, deep, wanted, texts)?;
            }
        } else if wanted(&name) {
            let text = std::fs::read_to_string(entry.path()).map_err(|e| format!("{path}: {e}"))?;
            texts.insert(path, text);
        }
    }
    Ok(())
}

/// A workspace for unit tests: the given files, and a manifest for the package `crates/x` unless one is given.
#[cfg(test)]
pub(crate) fn sample(files: &[(&str, &str)]) -> Workspace {
    let mut texts: BTreeMap<String, String> = files.iter().map(|(p, t)| ((*p).to_owned(), (*t).to_owned())).collect();
    texts.entry("crates/x/Cargo.toml".to_owned()).or_insert_with(|| "[package]\nname = \"x\"\n".to_owned());
    Workspace::from_texts(texts).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_only_tests_compile_are_marked() {
        let workspace = sample(&[
            ("crates/x/src/lib.rs", "mod a; #[cfg(test)] mod b;"),
            ("crates/x/src/a.rs", "#[cfg(test)] mod tests;"),
            ("crates/x/src/a/tests.rs", ""),
            ("crates/x/src/b.rs", ""),
            ("crates/x/tests/c.rs", ""),
        ]);
        let tests: Vec<&str> = workspace.files.iter().filter(|f| f.test_only).map(|f| f.path.as_str()).collect();
        assert_eq!(tests, ["crates/x/src/a/tests.rs", "crates/x/src/b.rs", "crates/x/tests/c.rs"]);
    }

    #[test]
    fn a_file_that_cannot_be_parsed_is_named() {
        let texts = BTreeMap::from([("crates/x/src/lib.rs".to_owned(), "fn f() {\n  let = 1;\n}".to_owned())]);
        let error = Workspace::from_texts(texts).err().unwrap();
        assert!(error.starts_with("crates/x/src/lib.rs:2: not valid Rust"), "{error}");
    }
}
