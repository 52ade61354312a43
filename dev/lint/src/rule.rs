//! What a rule is and what it finds.

use crate::source::Workspace;

/// A place in the sources that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule's name.
    pub rule: &'static str,
    /// The file, relative to the workspace root.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong and how to fix it.
    pub message: String,
}

/// A rule and the function that checks it.
pub struct Rule {
    /// The name used in findings and in the baseline.
    pub name: &'static str,
    /// The rule in one sentence.
    pub summary: &'static str,
    /// Returns the places that break the rule, in any order.
    pub check: fn(&Workspace) -> Vec<Finding>,
}

impl Rule {
    /// A finding of this rule.
    pub(crate) fn finding(&self, path: &str, line: usize, message: impl Into<String>) -> Finding {
        Finding { rule: self.name, path: path.to_owned(), line, message: message.into() }
    }
}

/// Runs one rule over a few files and lists the findings as `path:line`.
#[cfg(test)]
pub(crate) fn places(rule: &Rule, files: &[(&str, &str)]) -> Vec<String> {
    let mut findings = (rule.check)(&crate::source::sample(files));
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    findings.iter().map(|f| format!("{}:{}", f.path, f.line)).collect()
}
