//! The rules hold in this workspace: `cargo test --workspace` fails where `make lint` does.

use meno_lint::{BASELINE, Baseline, Workspace};
use std::path::Path;

#[test]
fn no_file_has_more_findings_than_the_baseline_allows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let findings = meno_lint::check(&Workspace::read(&root).unwrap());
    let text = std::fs::read_to_string(root.join(BASELINE)).unwrap_or_default(); // no file: nothing is allowed
    let failures = Baseline::parse(&text).unwrap().compare(&findings).failures;
    let lines: Vec<String> =
        failures.iter().map(|f| format!("{}:{}: [{}] {}", f.path, f.line, f.rule, f.message)).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}
