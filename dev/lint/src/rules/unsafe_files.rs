//! `unsafe` only in kernel, mmap and FFI files: those below meno-tensor's `cpu/`, and the files listed here.

use crate::Workspace;
use crate::rule::{Finding, Rule};

/// Directories whose files may contain `unsafe`.
const DIRS: [&str; 1] = ["crates/meno-tensor/src/cpu/"];

/// Other files that may contain `unsafe`, each with its reason.
const FILES: [(&str, &str); 18] = [
    ("crates/meno-engine/src/clock.rs", "FFI: the processor time of a thread"),
    ("crates/meno-eval/src/sandbox/jail.rs", "FFI: clone and signals by pidfd"),
    ("crates/meno-eval/src/sandbox/inside.rs", "FFI: namespaces, capabilities, exec"),
    ("crates/meno-eval/src/sandbox/usage.rs", "FFI: a child process for its test"),
    ("crates/meno-eval/tests/attacks.rs", "FFI: a mount namespace for the test"),
    ("crates/meno-model/src/gguf.rs", "mmap"),
    ("crates/meno-model/src/safetensors.rs", "mmap"),
    ("crates/meno-tensor/src/cuda/cards.rs", "FFI: NVIDIA's driver"),
    ("crates/meno-tensor/src/cuda/driver.rs", "FFI: NVIDIA's driver"),
    ("crates/meno-train/tests/allocations.rs", "an allocator that counts"),
    ("crates/meno/src/commands/bench/measures.rs", "FFI: peak memory"),
    ("crates/meno/src/commands/doctor/machine.rs", "FFI: free disk space"),
    ("crates/meno/src/exit.rs", "FFI: signal handlers"),
    ("crates/meno/tests/bad_input/main.rs", "FFI: limits of a child process"),
    ("crates/meno/tests/bad_input/runs.rs", "FFI: a signal to a child process"),
    ("crates/meno/tests/chat/pty.rs", "FFI: a pseudo-terminal"),
    ("crates/meno/tests/common/signals.rs", "FFI: signals of a child process"),
    ("crates/meno/tests/waiting/pty.rs", "FFI: a pseudo-terminal"),
];

pub(super) const RULE: Rule = Rule {
    name: "unsafe-files",
    summary: "`unsafe` is allowed only in kernel, mmap and FFI files",
    check: |workspace| check(workspace, &DIRS, &FILES),
};

fn check(workspace: &Workspace, dirs: &[&str], listed: &[(&str, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &workspace.files {
        let allowed = dirs.iter().any(|dir| file.path.starts_with(dir));
        let entry = listed.iter().find(|(path, _)| *path == file.path);
        match (file.line_of_unsafe(), entry) {
            (Some(line), None) if !allowed => {
                let message = "`unsafe` outside the kernel, mmap and FFI files: write it without, use a crate, or list \
                               the file with its reason in dev/lint/src/rules/unsafe_files.rs";
                findings.push(RULE.finding(&file.path, line, message));
            }
            (None, Some(_)) => {
                let message = "no `unsafe` here any more: take the file off the list in \
                               dev/lint/src/rules/unsafe_files.rs";
                findings.push(RULE.finding(&file.path, 1, message));
            }
            _ => {}
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sample;

    #[test]
    fn unsafe_outside_the_listed_files_is_found() {
        let workspace = sample(&[
            ("crates/x/src/cpu/a.rs", "unsafe fn f() {}"),
            ("crates/x/src/listed.rs", "unsafe fn f() {}"),
            ("crates/x/src/stale.rs", "fn f() {}"),
            ("crates/x/src/other.rs", "// unsafe\nunsafe fn f() {}"),
        ]);
        let listed = [("crates/x/src/listed.rs", "FFI"), ("crates/x/src/stale.rs", "FFI")];
        let findings = check(&workspace, &["crates/x/src/cpu/"], &listed);
        let places: Vec<_> = findings.iter().map(|f| (f.path.as_str(), f.line)).collect();
        assert_eq!(places, [("crates/x/src/other.rs", 2), ("crates/x/src/stale.rs", 1)]);
    }
}
