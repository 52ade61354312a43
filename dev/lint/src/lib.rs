//! Checks the sources of this workspace against the rules that CONTRIBUTING.md describes.
//!
//! [`Workspace`] reads the files, [`rules::RULES`] lists the rules (one file each), and [`Baseline`] holds the findings
//! that are allowed for now. `make lint` runs the program, `cargo test --workspace` the same check as a test.
#![forbid(unsafe_code)]

pub mod baseline;
pub mod comments;
pub mod modules;
pub mod names;
pub mod rule;
pub mod rules;
pub mod rust_file;
pub mod source;
pub mod syntax;

pub use baseline::Baseline;
pub use rule::{Finding, Rule};
pub use rules::RULES;
pub use source::Workspace;

/// Where the baseline is kept, relative to the workspace root.
pub const BASELINE: &str = "dev/lint/baseline.txt";

/// All findings of all rules, sorted by path, line and rule.
pub fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings: Vec<Finding> = RULES.iter().flat_map(|rule| (rule.check)(workspace)).collect();
    findings.sort_by(|a, b| (&a.path, a.line, a.rule).cmp(&(&b.path, b.line, b.rule)));
    findings
}
