//! No import cycles between the files of a crate.
//!
//! The graph has one node per source file of a library, program, test or benchmark; an inline module belongs to its
//! file. There is an edge from file A to file B if code in A names an item that is *defined* in B:
//!
//! - in a private `use` (`use crate::b::Item;`), also a renaming one or one inside a function;
//! - in any path in the code (`super::b::f()`, `b::Type`), also one that begins with an imported or re-exported name,
//!   and also in the arguments of macros and in the bodies of `macro_rules!`;
//! - by calling a `macro_rules!` macro that a parent module defines.
//!
//! Re-exports are followed to the definition: if `a.rs` says `pub use b::Item`, who names `a::Item` depends on `b.rs`.
//!
//! No edges by themselves are:
//!
//! - `mod b;` and the re-export `pub use b::Item` (with any visibility above private), as long as the file itself does
//!   not name `Item`: a parent that only arranges its children does not depend on them;
//! - `use crate::b;` of a whole module, until something is named through it;
//! - calls of methods and trait implementations, which name no path; paths in attributes and documentation;
//! - everything under `#[cfg(test)]` or `#[test]`, and integration tests.
//!
//! So a child that imports an item defined in its parent is in a cycle as soon as its parent names something of the
//! child's. The cure is to move the shared item into a separate file, below both.

use crate::Workspace;
use crate::modules::Tree;
use crate::names::{Names, Target};
use crate::rule::{Finding, Rule};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(super) const RULE: Rule = Rule {
    name: "import-cycles",
    summary: "files of a crate do not import each other in a circle, by whatever detour",
    check,
};

/// For each file, the files it imports from: the line of the first such import, and its path.
type Graph = BTreeMap<usize, BTreeMap<usize, (usize, String)>>;

fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for tree in workspace.trees.iter().filter(|tree| !tree.modules[0].test_only) {
        let graph = graph(workspace, tree);
        for (&file, imports) in &graph {
            for (&imported, (line, path)) in imports {
                let Some(back) = shortest_way(&graph, imported, file) else { continue };
                let name = |&file: &usize| file_name(&workspace.files[file].path);
                let message = format!(
                    "imports `{path}` from {}, which imports back: {}; move what is shared into a file below both",
                    name(&imported),
                    back.iter().map(name).collect::<Vec<_>>().join(" -> ")
                );
                findings.push(RULE.finding(&workspace.files[file].path, *line, message));
            }
        }
    }
    findings
}

fn graph(workspace: &Workspace, tree: &Tree) -> Graph {
    let names = Names::collect(&workspace.files, tree);
    let mut graph = Graph::new();
    for (id, (module, scope)) in tree.modules.iter().zip(&names.scopes).enumerate() {
        let mut add = |target: Option<Target>, path: &[String], line: usize| {
            let Some(Target::ItemIn(other)) = target else { return };
            let (from, to) = (module.file, tree.modules[other].file);
            if from != to {
                let entry = graph.entry(from).or_default().entry(to).or_insert((line, path.join("::")));
                if line < entry.0 {
                    *entry = (line, path.join("::"));
                }
            }
        };
        for import in scope.imports.iter().filter(|import| !import.reexport) {
            add(names.resolve(id, &import.path), &import.path, import.line);
        }
        for (path, line) in &scope.paths {
            let target = names.resolve(id, path);
            let inherited = || names.macro_above(id, path.first()?).map(Target::ItemIn);
            add(target.or_else(|| if path.len() == 1 { inherited() } else { None }), path, *line);
        }
    }
    graph
}

/// The files on a shortest way through the imports from `from` to `to`, both included.
fn shortest_way(graph: &Graph, from: usize, to: usize) -> Option<Vec<usize>> {
    let mut before = BTreeMap::new();
    let mut seen = BTreeSet::from([from]);
    let mut queue = VecDeque::from([from]);
    while let Some(file) = queue.pop_front() {
        if file == to {
            let mut way: Vec<usize> = std::iter::successors(Some(to), |file| before.get(file).copied()).collect();
            way.reverse();
            return Some(way);
        }
        for &next in graph.get(&file).into_iter().flat_map(BTreeMap::keys) {
            if seen.insert(next) {
                before.insert(next, file);
                queue.push_back(next);
            }
        }
    }
    None
}

/// The path below `src/`.
fn file_name(path: &str) -> String {
    path.split_once("/src/").map_or(path, |(_, inside)| inside).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::places;

    /// Lines with findings in a crate of `lib.rs`, `a.rs`, `b.rs` and `a/child.rs`.
    fn cycles(root: &str, a: &str, b: &str, child: &str) -> Vec<String> {
        let files = [
            ("crates/x/src/lib.rs", root),
            ("crates/x/src/a.rs", a),
            ("crates/x/src/b.rs", b),
            ("crates/x/src/a/child.rs", child),
        ];
        let places = places(&RULE, &files);
        places.iter().map(|place| place.trim_start_matches("crates/x/src/").to_owned()).collect()
    }

    const ROOT: &str = "mod a; mod b;";

    #[test]
    fn files_that_import_each_other() {
        let b = "use super::a::A;\npub struct B;";
        assert_eq!(cycles(ROOT, "\nuse crate::b::B;\npub struct A;", b, ""), ["a.rs:2", "b.rs:1"]);
        assert_eq!(cycles(ROOT, "pub struct A;\nfn f() { crate::b::B; }", b, ""), ["a.rs:2", "b.rs:1"]);
        assert_eq!(cycles(ROOT, "pub struct A;\nuse crate::b;\nfn f() { g!(b::B) }", b, ""), ["a.rs:3", "b.rs:1"]);
        assert!(cycles(ROOT, "pub struct A;\nuse crate::b;", b, "").is_empty());
        assert!(cycles(ROOT, "pub struct A;", b, "").is_empty());
    }

    #[test]
    fn a_detour_over_a_third_file_and_over_a_reexport() {
        let a = "mod child;\npub struct A;\nuse crate::b::B;";
        assert_eq!(
            cycles(ROOT, a, "use crate::a::child::C; pub struct B;", "use crate::A; pub struct C;"),
            Vec::<String>::new()
        );
        let root = "mod a; mod b; pub use a::A;";
        let found = cycles(root, a, "use crate::a::child::C; pub struct B;", "use crate::A; pub struct C;");
        assert_eq!(found, ["a.rs:3", "a/child.rs:1", "b.rs:1"]);
    }

    #[test]
    fn parents_and_children() {
        let child = "use super::A;\npub struct C;";
        assert!(cycles(ROOT, "mod child; pub use child::C; pub struct A;", "", child).is_empty());
        assert!(cycles(ROOT, "mod child; pub(crate) use child::C; pub struct A;", "", child).is_empty());
        let found = ["a.rs:2", "a/child.rs:1"];
        assert_eq!(cycles(ROOT, "mod child;\nuse child::C; pub struct A;", "", child), found);
        assert_eq!(cycles(ROOT, "mod child; pub use child::C;\nfn f(c: C) {} pub struct A;", "", child), found);
        assert_eq!(cycles(ROOT, "mod child;\nfn f(c: child::C) {} pub struct A;", "", child), found);
        let found = cycles(
            ROOT,
            "mod child;\nfn f(c: child::C) {} pub struct A;",
            "",
            "use super::*;\npub struct C; fn f(a: A) {}",
        );
        assert_eq!(found, ["a.rs:2", "a/child.rs:2"]);
        // What a parent only passes on from a sibling is the sibling's.
        assert!(
            cycles(
                "mod a; mod b; use a::A; fn f(a: A) {} pub use b::B;",
                "use super::B; pub struct A;",
                "pub struct B;",
                ""
            )
            .is_empty()
        );
    }

    #[test]
    fn macros_of_a_parent() {
        let a = "macro_rules! m { () => {} }\nmod child;\nfn f() { child::g() }";
        assert_eq!(cycles(ROOT, a, "", "pub fn g() {\n m!();\n}"), ["a.rs:3", "a/child.rs:2"]);
        let exported = "#[macro_export] macro_rules! m { () => {} }\nfn f() { crate::b::g() }";
        assert_eq!(cycles(ROOT, exported, "pub fn g() {\n crate::m!();\n}", ""), ["a.rs:2", "b.rs:2"]);
    }

    #[test]
    fn tests_do_not_count() {
        let b = "pub struct B;\n#[cfg(test)] mod tests { use crate::a::A; }\n#[test] fn t() { crate::a::A; }";
        assert!(cycles(ROOT, "use crate::b::B; pub struct A;", b, "").is_empty());
        assert!(
            cycles("mod a; #[cfg(test)] mod b;", "use crate::b::B; pub struct A;", "use crate::a::A;", "").is_empty()
        );
    }
}
