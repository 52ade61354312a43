//! One module style: `name.rs` beside the directory `name/`, never `name/mod.rs`, in tests too.

use crate::Workspace;
use crate::rule::{Finding, Rule};

pub(super) const RULE: Rule =
    Rule { name: "module-style", summary: "a module with children is `name.rs`, never `name/mod.rs`", check };

fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in workspace.files.iter().map(|file| file.path.as_str()) {
        let Some(dir) = path.strip_suffix("/mod.rs") else { continue };
        let message = if dir.ends_with("/tests/common") {
            format!("name the file by its subject ({dir}/<subject>.rs) and declare it with `#[path]` where it is used")
        } else {
            format!("rename it to {dir}.rs")
        };
        findings.push(RULE.finding(path, 1, message));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::places;

    #[test]
    fn mod_rs_is_found() {
        let files = [
            ("crates/x/src/lib.rs", ""),
            ("crates/x/src/a/mod.rs", ""),
            ("crates/x/src/a.rs", ""),
            ("crates/x/src/amod.rs", ""),
        ];
        assert_eq!(places(&RULE, &files), ["crates/x/src/a/mod.rs:1"]);
    }
}
