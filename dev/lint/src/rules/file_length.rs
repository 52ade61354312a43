//! Source files of at most 600 lines, tests included.

use crate::Workspace;
use crate::rule::{Finding, Rule};

const LIMIT: usize = 600;

pub(super) const RULE: Rule = Rule {
    name: "file-length",
    summary: "a Rust file has at most 600 lines, tests included",
    check: |workspace| check(workspace, LIMIT),
};

fn check(workspace: &Workspace, limit: usize) -> Vec<Finding> {
    let long = workspace.files.iter().map(|file| (file, file.text.lines().count())).filter(|(_, n)| *n > limit);
    let message = |lines| format!("{lines} lines, at most {limit}: split the file by subject, or move its tests out");
    long.map(|(file, lines)| RULE.finding(&file.path, limit + 1, message(lines))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sample;

    #[test]
    fn files_above_the_limit_are_found() {
        let workspace = sample(&[("crates/x/src/lib.rs", "//\n//\n//\n"), ("crates/x/tests/a.rs", "//\n//\n//\n//\n")]);
        let findings = check(&workspace, 3);
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].path.as_str(), findings[0].line), ("crates/x/tests/a.rs", 4));
        assert!(check(&workspace, 4).is_empty());
    }
}
