//! The module tree of a crate: which file each module is in, and which modules only tests compile.

use crate::rust_file::RustFile;
use crate::syntax;
use std::collections::BTreeMap;
use syn::{Expr, ExprLit, Item, ItemMod, Lit, Meta};

/// The modules of one crate; module 0 is the crate root.
pub struct Tree {
    /// All modules, parents before children.
    pub modules: Vec<Module>,
}

/// One module, in a separate file or inline.
pub struct Module {
    /// Index into the files of the workspace.
    pub file: usize,
    /// The module that declares this one; `None` for the crate root.
    pub parent: Option<usize>,
    /// Modules declared here, by name.
    pub children: BTreeMap<String, usize>,
    /// True if this module or one above it is restricted to test builds.
    pub test_only: bool,
    /// For an inline module, the names that lead to it inside its file.
    pub inline: Vec<String>,
}

impl Tree {
    /// Follows the `mod` declarations from the crate root `files[root]`, except those whose file is missing.
    pub fn build(files: &[RustFile], root: usize) -> Tree {
        let by_path: BTreeMap<&str, usize> = files.iter().enumerate().map(|(i, f)| (f.path.as_str(), i)).collect();
        let mut tree = Tree { modules: Vec::new() };
        let module = Module {
            file: root,
            parent: None,
            children: BTreeMap::new(),
            test_only: files[root].test_only,
            inline: Vec::new(),
        };
        tree.add(files, &by_path, module, &files[root].syntax.items, parent_dir(&files[root].path));
        tree
    }

    /// Adds a module with these items and everything below it. Files of its children are in `dir`.
    fn add(
        &mut self,
        files: &[RustFile],
        by_path: &BTreeMap<&str, usize>,
        module: Module,
        items: &[Item],
        dir: &str,
    ) -> usize {
        let id = self.modules.len();
        let (file, test_only, inline) = (module.file, module.test_only, module.inline.clone());
        self.modules.push(module);
        for item in items {
            let Item::Mod(declared) = item else { continue };
            let name = declared.ident.to_string();
            let mut child = Module {
                file,
                parent: Some(id),
                children: BTreeMap::new(),
                test_only: test_only || syntax::test_only(&declared.attrs),
                inline: Vec::new(),
            };
            let below = format!("{dir}/{name}");
            let added = if let Some((_, items)) = &declared.content {
                child.inline = [&inline[..], std::slice::from_ref(&name)].concat();
                self.add(files, by_path, child, items, &below)
            } else {
                let own_dir = if inline.is_empty() { parent_dir(&files[file].path) } else { dir };
                let Some(found) = module_file(by_path, declared, own_dir, &below) else { continue };
                child.file = found;
                let path = &files[found].path;
                // `mod.rs` and files given by #[path] keep their children beside them.
                let beside = path.ends_with("/mod.rs") || path_attribute(declared).is_some();
                let below = if beside { parent_dir(path) } else { &below };
                self.add(files, by_path, child, &files[found].syntax.items, below)
            };
            self.modules[id].children.insert(name, added);
        }
        id
    }
}

/// The file of `mod name;`: the one its `#[path]` names, else `name.rs` or `name/mod.rs`.
fn module_file(by_path: &BTreeMap<&str, usize>, declared: &ItemMod, own_dir: &str, below: &str) -> Option<usize> {
    let candidates = match path_attribute(declared) {
        Some(path) => vec![joined(own_dir, &path)],
        None => vec![format!("{below}.rs"), format!("{below}/mod.rs")],
    };
    candidates.iter().find_map(|path| by_path.get(path.as_str()).copied())
}

fn path_attribute(declared: &ItemMod) -> Option<String> {
    declared.attrs.iter().find_map(|attr| match &attr.meta {
        Meta::NameValue(meta) if meta.path.is_ident("path") => match &meta.value {
            Expr::Lit(ExprLit { lit: Lit::Str(path), .. }) => Some(path.value()),
            _ => None,
        },
        _ => None,
    })
}

fn parent_dir(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// `dir/path` with `..` resolved.
fn joined(dir: &str, path: &str) -> String {
    let mut parts: Vec<&str> = dir.split('/').collect();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use crate::source::sample;

    #[test]
    fn declarations_lead_to_files() {
        let workspace = sample(&[
            ("crates/x/src/lib.rs", "mod a; mod old; mod gone;"),
            ("crates/x/src/a.rs", "mod b { mod c; } #[path = \"../other/d.rs\"] mod d;"),
            ("crates/x/src/a/b/c.rs", ""),
            ("crates/x/src/old/mod.rs", "mod e;"),
            ("crates/x/src/old/e.rs", ""),
            ("crates/x/other/d.rs", ""),
        ]);
        let tree = &workspace.trees[0];
        let files: Vec<&str> =
            tree.modules.iter().map(|m| &workspace.files[m.file].path["crates/x/".len()..]).collect();
        assert_eq!(
            files,
            ["src/lib.rs", "src/a.rs", "src/a.rs", "src/a/b/c.rs", "other/d.rs", "src/old/mod.rs", "src/old/e.rs"]
        );
        assert_eq!(tree.modules[2].inline, ["b"]);
        assert_eq!(tree.modules[3].parent, Some(2));
    }
}
