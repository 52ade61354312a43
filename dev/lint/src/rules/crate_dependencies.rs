//! Dependencies between the crates of the workspace point only downward.
//!
//! The order is the one that ARCHITECTURE.md draws; the rule also checks that the drawing still says the same.
//! Development dependencies count, since Cargo would allow a cycle through them.

use crate::Workspace;
use crate::rule::{Finding, Rule};
use crate::source::Package;

/// The crates from the bottom to the top: each may depend on those before it.
const LINE: [&str; 8] =
    ["meno-comm", "meno-tensor", "meno-model", "meno-engine", "meno-eval", "meno-train", "meno-replicate", "meno"];

/// Crates beside the line, with what they may depend on, and which crates of the line may depend on them.
const BESIDE: [(&str, &[&str], &[&str]); 2] =
    [("meno-server", &["meno-tensor", "meno-model", "meno-engine"], &["meno"]), ("meno-lint", &[], &[])];

/// Not a member of the workspace, and on top of everything.
const FREE: [&str; 1] = ["meno-fuzz"];

const DRAWING: &str = "ARCHITECTURE.md";

pub(super) const RULE: Rule = Rule {
    name: "crate-dependencies",
    summary: "dependencies between crates point downward in the order of ARCHITECTURE.md",
    check,
};

fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    let names: Vec<&str> = workspace.packages.iter().map(|p| p.name.as_str()).collect();
    for package in workspace.packages.iter().filter(|p| !FREE.contains(&p.name.as_str())) {
        let Some(allowed) = allowed(&package.name) else {
            let message = "a new crate: give it its place in ARCHITECTURE.md and in \
                           dev/lint/src/rules/crate_dependencies.rs";
            findings.push(RULE.finding(&package.manifest_path(), 1, message));
            continue;
        };
        for dependency in dependencies(package).filter(|d| names.contains(&d.as_str())) {
            if !allowed.contains(&dependency.as_str()) {
                let message = format!(
                    "{} may not depend on {dependency}, which is above or beside it in ARCHITECTURE.md: move what is \
                     shared into a crate below both",
                    package.name
                );
                findings.push(RULE.finding(&package.manifest_path(), line_of(package, &dependency), message));
            }
        }
    }
    for (path, text) in workspace.documents.iter().filter(|(path, _)| path == DRAWING) {
        let drawn = text.lines().enumerate().find(|(_, line)| line.contains("  <-  "));
        let same = drawn.is_some_and(|(_, line)| line.split("<-").map(str::trim).eq(LINE));
        if !same {
            let message = format!("the drawing of the crates should read: {}", LINE.join("  <-  "));
            findings.push(RULE.finding(path, drawn.map_or(1, |(i, _)| i + 1), message));
        }
    }
    findings
}

/// What a crate may depend on; `None` if the crate is not known.
fn allowed(name: &str) -> Option<Vec<&'static str>> {
    if let Some((_, below, _)) = BESIDE.iter().find(|(beside, _, _)| *beside == name) {
        return Some(below.to_vec());
    }
    let place = LINE.iter().position(|line| *line == name)?;
    let beside = BESIDE.iter().filter(|(_, _, above)| above.contains(&name)).map(|(beside, _, _)| *beside);
    Some(LINE[..place].iter().copied().chain(beside).collect())
}

/// The names in all dependency tables of a manifest, also those for single targets.
fn dependencies(package: &Package) -> impl Iterator<Item = String> {
    let targets = package.manifest.get("target").and_then(|t| t.as_table()).into_iter().flat_map(|t| t.values());
    let tables = targets.filter_map(|t| t.as_table()).chain([&package.manifest]);
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let dependencies = tables.flat_map(move |table| kinds.map(|kind| table.get(kind)).into_iter().flatten());
    dependencies
        .filter_map(|d| d.as_table())
        .flat_map(|d| d.iter())
        .map(|(name, value)| value.get("package").and_then(|p| p.as_str()).unwrap_or(name).to_owned())
}

fn line_of(package: &Package, dependency: &str) -> usize {
    let names = |line: &str| line.split(['.', '=', ' ']).next() == Some(dependency);
    package.manifest_text.lines().position(names).map_or(1, |i| i + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::places;

    const TENSOR: (&str, &str) = ("crates/meno-tensor/Cargo.toml", "[package]\nname = \"meno-tensor\"\n");
    const X: (&str, &str) = ("crates/x/Cargo.toml", "[workspace]\n");

    #[test]
    fn a_dependency_downward_is_fine() {
        let model = "[package]\nname = \"meno-model\"\n[dependencies]\nmeno-tensor.workspace = true\nserde = \"1\"\n";
        assert!(places(&RULE, &[TENSOR, X, ("crates/meno-model/Cargo.toml", model)]).is_empty());
    }

    #[test]
    fn a_dependency_upward_or_sideways_is_found() {
        let server = "[package]\nname = \"meno-server\"\n";
        let model =
            "[package]\nname = \"meno-model\"\n[target.'cfg(unix)'.dev-dependencies]\nmeno-server.workspace = true\n";
        let files = [TENSOR, X, ("crates/meno-model/Cargo.toml", model), ("crates/meno-server/Cargo.toml", server)];
        assert_eq!(places(&RULE, &files), ["crates/meno-model/Cargo.toml:4"]);
    }

    #[test]
    fn a_new_crate_must_be_given_a_place() {
        assert_eq!(places(&RULE, &[TENSOR]), ["crates/x/Cargo.toml:1"]);
    }

    #[test]
    fn the_drawing_must_agree() {
        let good = format!("# A\n\n{}\n", LINE.join("  <-  "));
        assert!(places(&RULE, &[TENSOR, X, ("ARCHITECTURE.md", &good)]).is_empty());
        let bad = good.replace("meno-eval", "meno-other");
        assert_eq!(places(&RULE, &[TENSOR, X, ("ARCHITECTURE.md", &bad)]), ["ARCHITECTURE.md:3"]);
    }
}
