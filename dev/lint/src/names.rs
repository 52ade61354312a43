//! Which names a module defines, imports and uses, and where a path leads.

use crate::modules::Tree;
use crate::rust_file::RustFile;
use crate::syntax;
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Item, UseTree, Visibility};

/// What one module defines, imports and uses, without what only tests compile.
#[derive(Default)]
pub struct Scope {
    /// Names of items defined here, modules excepted.
    items: BTreeSet<String>,
    /// Names of `macro_rules!` macros defined here, with whether they are exported to the crate root.
    macros: BTreeMap<String, bool>,
    /// The `use` declarations, one per name.
    pub imports: Vec<Import>,
    /// Paths in the code, macro arguments included, with their lines.
    pub paths: Vec<(Vec<String>, usize)>,
}

/// One name that a `use` declaration brings in.
pub struct Import {
    /// The name here; `None` for a glob.
    name: Option<String>,
    /// The path as written.
    pub path: Vec<String>,
    /// The line.
    pub line: usize,
    /// True if the declaration is visible outside the module (`pub`, `pub(crate)`, `pub(super)`).
    pub reexport: bool,
}

/// Where a path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A module.
    Module(usize),
    /// An item defined in this module.
    ItemIn(usize),
}

/// The scopes of a crate's modules.
pub struct Names<'a> {
    tree: &'a Tree,
    /// One scope per module of the tree; scopes of modules that only tests compile are empty.
    pub scopes: Vec<Scope>,
    exported_macros: BTreeMap<String, usize>,
}

impl<'a> Names<'a> {
    /// Collects the names of all modules.
    pub fn collect(files: &[RustFile], tree: &'a Tree) -> Names<'a> {
        let mut scopes = Vec::new();
        for module in &tree.modules {
            let mut scope = Scope::default();
            if !module.test_only {
                let mut items = &files[module.file].syntax.items;
                for name in &module.inline {
                    let inside = items.iter().find_map(|item| match item {
                        Item::Mod(m) if m.ident == name => m.content.as_ref().map(|(_, items)| items),
                        _ => None,
                    });
                    items = inside.expect("the tree has only inline modules that exist");
                }
                items.iter().for_each(|item| scope.define(item));
                items.iter().for_each(|item| scope.visit_item(item));
            }
            scopes.push(scope);
        }
        let exported = scopes.iter().enumerate().flat_map(|(id, scope)| {
            scope.macros.iter().filter(|(_, exported)| **exported).map(move |(name, _)| (name.clone(), id))
        });
        let exported_macros = exported.collect();
        Names { tree, scopes, exported_macros }
    }

    /// Where `path`, written in `module`, leads. `None` for other crates, local names and what macros define.
    pub fn resolve(&self, module: usize, path: &[String]) -> Option<Target> {
        self.follow(module, path, &mut BTreeSet::new())
    }

    /// `seen` holds the names that are being resolved, since imports may name each other.
    fn follow(&self, module: usize, path: &[String], seen: &mut BTreeSet<(usize, String)>) -> Option<Target> {
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" | "$crate" => Target::Module(0),
            "self" => Target::Module(module),
            "super" => Target::Module(self.tree.modules[module].parent?),
            name => self.look_up(module, name, !rest.is_empty(), seen)?,
        };
        while let (Target::Module(id), Some((name, further))) = (at, rest.split_first()) {
            rest = further;
            at = match name.as_str() {
                "self" => at,
                "super" => Target::Module(self.tree.modules[id].parent?),
                name => match self.look_up(id, name, !further.is_empty(), seen) {
                    Some(target) => target,
                    None if self.comes_from_outside(id, name) => return None,
                    None => return Some(Target::ItemIn(id)), // made by a macro there
                },
            };
        }
        Some(at)
    }

    /// What `name` means in `module`; a module is preferred if more of the path follows.
    fn look_up(&self, module: usize, name: &str, more: bool, seen: &mut BTreeSet<(usize, String)>) -> Option<Target> {
        if !seen.insert((module, name.to_owned())) {
            return None;
        }
        let scope = &self.scopes[module];
        let child = self.tree.modules[module].children.get(name).map(|&id| Target::Module(id));
        let item = (scope.items.contains(name) || scope.macros.contains_key(name)).then_some(Target::ItemIn(module));
        let own = if more { child.or(item) } else { item.or(child) };
        let named = || scope.imports.iter().filter(|import| import.name.as_deref() == Some(name));
        let globs = || scope.imports.iter().filter(|import| import.name.is_none());
        let exported = || (module == 0).then(|| self.exported_macros.get(name).map(|&id| Target::ItemIn(id))).flatten();
        let found = own
            .or_else(|| named().find_map(|import| self.follow(module, &import.path, seen)))
            .or_else(|| {
                globs().find_map(|import| match self.follow(module, &import.path, seen)? {
                    Target::Module(id) if id != module => self.look_up(id, name, more, seen),
                    _ => None,
                })
            })
            .or_else(exported);
        seen.remove(&(module, name.to_owned()));
        found
    }

    /// Returns true if `name` is imported into `module` from another crate, by name or perhaps by a glob.
    fn comes_from_outside(&self, module: usize, name: &str) -> bool {
        self.scopes[module].imports.iter().any(|import| match &import.name {
            Some(imported) => imported == name,
            None => self.resolve(module, &import.path).is_none(),
        })
    }

    /// The module above `module`, or itself, that defines the macro `name`: such macros need no import.
    pub fn macro_above(&self, module: usize, name: &str) -> Option<usize> {
        std::iter::successors(Some(module), |&id| self.tree.modules[id].parent)
            .find(|&id| self.scopes[id].macros.contains_key(name))
    }
}

impl Scope {
    /// Notes the name of an item of the module.
    fn define(&mut self, item: &Item) {
        if syntax::test_only(syntax::attrs(item)) {
            return;
        }
        let name = match item {
            Item::Const(i) => &i.ident,
            Item::Enum(i) => &i.ident,
            Item::Fn(i) => &i.sig.ident,
            Item::Static(i) => &i.ident,
            Item::Struct(i) => &i.ident,
            Item::Trait(i) => &i.ident,
            Item::Type(i) => &i.ident,
            Item::Union(i) => &i.ident,
            Item::Macro(i) => {
                if let Some(name) = &i.ident {
                    let exported = i.attrs.iter().any(|attr| attr.path().is_ident("macro_export"));
                    self.macros.insert(name.to_string(), exported);
                }
                return;
            }
            _ => return,
        };
        self.items.insert(name.to_string());
    }

    fn import(&mut self, tree: &UseTree, before: &[String], reexport: bool) {
        let with = |name: String| [before, &[name]].concat();
        let (name, path) = match tree {
            UseTree::Path(path) => return self.import(&path.tree, &with(path.ident.to_string()), reexport),
            UseTree::Group(group) => {
                return group.items.iter().for_each(|item| self.import(item, before, reexport));
            }
            UseTree::Glob(_) => (None, before.to_vec()),
            UseTree::Name(name) if name.ident == "self" => (before.last().cloned(), before.to_vec()),
            UseTree::Name(name) => (Some(name.ident.to_string()), with(name.ident.to_string())),
            UseTree::Rename(rename) if rename.ident == "self" => (Some(rename.rename.to_string()), before.to_vec()),
            UseTree::Rename(rename) => (Some(rename.rename.to_string()), with(rename.ident.to_string())),
        };
        self.imports.push(Import { name, path, line: tree.span().start().line, reexport });
    }

    /// Paths in the arguments of a macro: identifiers joined by `::`, unless a `.` precedes them.
    fn paths_in_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let (mut line, mut colons, mut skip) = (0, 0, false);
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if path.is_empty() || colons != 2 {
                        self.add_path(&mut path, line);
                        line = ident.span().start().line;
                    }
                    if !skip {
                        path.push(ident.to_string());
                    }
                    (colons, skip) = (0, false);
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Punct(punct) => {
                    self.add_path(&mut path, line);
                    (colons, skip) = (0, punct.as_char() == '.');
                }
                TokenTree::Group(group) => {
                    // `a::{b, c}` in a macro is not followed; other brackets are searched.
                    if !(group.delimiter() == Delimiter::Brace && colons == 2) {
                        self.add_path(&mut path, line);
                        self.paths_in_tokens(group.stream());
                    }
                    colons = 0;
                }
                TokenTree::Literal(_) => self.add_path(&mut path, line),
            }
        }
        self.add_path(&mut path, line);
    }

    fn add_path(&mut self, path: &mut Vec<String>, line: usize) {
        if !path.is_empty() {
            self.paths.push((std::mem::take(path), line));
        }
    }
}

/// Collects imports and paths; modules below and code for tests are left out.
impl<'ast> Visit<'ast> for Scope {
    fn visit_item(&mut self, item: &'ast Item) {
        if !syntax::test_only(syntax::attrs(item)) && !matches!(item, Item::Mod(_)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !syntax::test_only(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let private = match &item.vis {
            Visibility::Inherited => true,
            Visibility::Restricted(vis) => vis.path.is_ident("self"),
            Visibility::Public(_) => false,
        };
        if item.leading_colon.is_none() {
            self.import(&item.tree, &[], !private);
        }
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.paths.push((names, path.span().start().line));
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        visit::visit_macro(self, call);
        self.paths_in_tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sample;

    /// Where a path written in the crate root leads: the file that defines it.
    fn file(root: &str, a: &str, path: &str) -> Option<String> {
        let workspace =
            sample(&[("crates/x/src/lib.rs", root), ("crates/x/src/a.rs", a), ("crates/x/src/b.rs", "pub struct B;")]);
        let tree = &workspace.trees[0];
        let path: Vec<String> = path.split("::").map(str::to_owned).collect();
        let target = Names::collect(&workspace.files, tree).resolve(0, &path)?;
        let (Target::Module(id) | Target::ItemIn(id)) = target;
        workspace.files[tree.modules[id].file].path.strip_prefix("crates/x/src/").map(str::to_owned)
    }

    #[test]
    fn a_path_leads_to_the_file_of_the_definition() {
        let root = "mod a; mod b; pub use a::A; use a as c; fn f() {} use std::fmt::Debug;";
        let a =
            "pub struct A; pub use crate::b::B; pub use super::b::*; pub mod inner { pub fn g() {} } pub use std::io;";
        for (path, expected) in [
            ("A", Some("a.rs")),
            ("A::new", Some("a.rs")),
            ("crate::a::A", Some("a.rs")),
            ("self::f", Some("lib.rs")),
            ("a::B", Some("b.rs")),
            ("c::B::new", Some("b.rs")),
            ("a::inner::g", Some("a.rs")),
            ("a::made_by_a_macro", Some("a.rs")),
            ("a::io::Read", None),
            ("Debug", None),
            ("std::fmt", None),
            ("local", None),
        ] {
            assert_eq!(file(root, a, path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn paths_in_macros() {
        let mut scope = Scope::default();
        scope.paths_in_tokens("\"{}\", a::b(c.d, $crate::e), x: f".parse().unwrap());
        let paths: Vec<String> = scope.paths.iter().map(|(path, _)| path.join("::")).collect();
        assert_eq!(paths, ["a::b", "c", "crate::e", "x", "f"]);
    }

    #[test]
    fn imports_that_name_each_other_end() {
        assert_eq!(file("mod a; mod b; use a::X;", "pub use crate::X;", "X"), None);
    }
}
