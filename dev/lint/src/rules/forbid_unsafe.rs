//! `#![forbid(unsafe_code)]` in the root of every library and program that contains no `unsafe`.
//!
//! The tests inside a crate count, since the attribute holds for them too. Integration tests, benchmarks and examples
//! are left to the rule `unsafe-files`.

use crate::modules::Tree;
use crate::rule::{Finding, Rule};
use crate::{Workspace, syntax};
use std::collections::BTreeSet;
use syn::{AttrStyle, Attribute, Meta};

pub(super) const RULE: Rule = Rule {
    name: "forbid-unsafe",
    summary: "the root of a library or program without `unsafe` has `#![forbid(unsafe_code)]`",
    check,
};

fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for tree in &workspace.trees {
        let root = &workspace.files[tree.modules[0].file];
        let in_source = root.path.contains("/src/") || root.path.ends_with("/build.rs");
        if in_source && !root.syntax.attrs.iter().any(forbids_unsafe) && !has_unsafe(workspace, tree) {
            let message =
                "no file of this crate has `unsafe`: add `#![forbid(unsafe_code)]` after the module documentation";
            findings.push(RULE.finding(&root.path, 1, message));
        }
    }
    findings
}

fn forbids_unsafe(attr: &Attribute) -> bool {
    let Meta::List(list) = &attr.meta else { return false };
    let inner = matches!(attr.style, AttrStyle::Inner(_));
    inner && list.path.is_ident("forbid") && syntax::line_of_word(list.tokens.clone(), "unsafe_code").is_some()
}

fn has_unsafe(workspace: &Workspace, tree: &Tree) -> bool {
    let files: BTreeSet<usize> = tree.modules.iter().map(|module| module.file).collect();
    files.iter().any(|&file| workspace.files[file].line_of_unsafe().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::places;

    #[test]
    fn a_root_without_unsafe_must_forbid_it() {
        let safe = ("crates/x/src/a.rs", "fn f() {} // unsafe\n");
        assert_eq!(places(&RULE, &[("crates/x/src/lib.rs", "mod a;"), safe]), ["crates/x/src/lib.rs:1"]);
        assert!(places(&RULE, &[("crates/x/src/lib.rs", "//! X.\n#![forbid(unsafe_code)]\nmod a;"), safe]).is_empty());
    }

    #[test]
    fn a_crate_with_unsafe_and_a_test_need_not() {
        let with_unsafe = ("crates/x/src/a.rs", "fn f() { unsafe { g() } }");
        let test = ("crates/x/tests/t.rs", "");
        assert!(places(&RULE, &[("crates/x/src/lib.rs", "mod a;"), with_unsafe, test]).is_empty());
        // The program beside it does not contain that module.
        let program = ("crates/x/src/main.rs", "fn main() {}");
        let found = places(&RULE, &[("crates/x/src/lib.rs", "mod a;"), with_unsafe, program]);
        assert_eq!(found, ["crates/x/src/main.rs:1"]);
    }
}
