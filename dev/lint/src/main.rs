//! `make lint`: prints what breaks the rules of this repository; exit code 1 if there is anything, 2 if it cannot tell.
#![forbid(unsafe_code)]

use meno_lint::{BASELINE, Baseline, Finding, RULES, Workspace};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "Usage: meno-lint [--all | --update-baseline] [RULE | PATH]...

Checks the workspace around the current directory. Exit code 1 if a file has more findings than the baseline allows.
RULE and PATH limit the output to rules and to paths that begin so.

  --all              also print findings that the baseline allows, and a table of counts
  --update-baseline  lower the counts in the baseline to what is found now; makes a new baseline if there is none
  --rules            list the rules";

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(clean) => ExitCode::from(u8::from(!clean)),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Returns true if no count is above the baseline.
fn run(arguments: &[String]) -> Result<bool, String> {
    let (flags, filters): (Vec<&str>, Vec<&str>) =
        arguments.iter().map(String::as_str).partition(|a| a.starts_with('-'));
    match flags[..] {
        [] | ["--all"] => {}
        ["--update-baseline"] if filters.is_empty() => return update_baseline(),
        ["--rules"] => {
            RULES.iter().for_each(|rule| println!("{:20} {}", rule.name, rule.summary));
            return Ok(true);
        }
        ["--help" | "-h"] => {
            println!("{USAGE}");
            return Ok(true);
        }
        _ => return Err(format!("unknown arguments\n{USAGE}")),
    }
    let root = root()?;
    let workspace = Workspace::read(&root)?;
    let findings = meno_lint::check(&workspace);
    let shown = |f: &&Finding| {
        let rules: Vec<&str> = filters.iter().copied().filter(|a| RULES.iter().any(|rule| rule.name == *a)).collect();
        let paths: Vec<&str> = filters.iter().copied().filter(|a| !rules.contains(a)).collect();
        (rules.is_empty() || rules.contains(&f.rule))
            && (paths.is_empty() || paths.iter().any(|p| f.path.starts_with(p)))
    };
    if flags == ["--all"] {
        let findings: Vec<&Finding> = findings.iter().filter(shown).collect();
        findings.iter().for_each(|finding| print(finding));
        print_counts(&findings);
    }
    let baseline = read_baseline(&root)?.unwrap_or_default();
    let comparison = baseline.compare(&findings);
    let failures: Vec<&Finding> = comparison.failures.into_iter().filter(shown).collect();
    if flags.is_empty() {
        failures.iter().for_each(|finding| print(finding));
        for (rule, path, found, allowed) in &comparison.improved {
            println!("{path}: [{rule}] {found} left, the baseline allows {allowed}: run with --update-baseline");
        }
    }
    eprintln!("{} files, {} findings above the baseline", workspace.files.len(), failures.len());
    Ok(failures.is_empty())
}

fn update_baseline() -> Result<bool, String> {
    let root = root()?;
    let findings = meno_lint::check(&Workspace::read(&root)?);
    let baseline = match read_baseline(&root)? {
        Some(mut baseline) => {
            baseline.shrink(&findings);
            baseline
        }
        None => Baseline::of(&findings),
    };
    let path = root.join(BASELINE);
    std::fs::write(&path, baseline.text()).map_err(|e| format!("{}: {e}", path.display()))?;
    let above = baseline.compare(&findings).failures;
    above.iter().for_each(|finding| print(finding));
    Ok(above.is_empty())
}

fn read_baseline(root: &std::path::Path) -> Result<Option<Baseline>, String> {
    match std::fs::read_to_string(root.join(BASELINE)) {
        Ok(text) => Baseline::parse(&text).map(Some).map_err(|e| format!("{BASELINE}: {e}")),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("{BASELINE}: {e}")),
    }
}

/// The nearest directory above with a `Cargo.toml` that has a `[workspace]` section.
fn root() -> Result<PathBuf, String> {
    let current = std::env::current_dir().map_err(|e| format!("current directory: {e}"))?;
    let is_root = |dir: &&std::path::Path| {
        std::fs::read_to_string(dir.join("Cargo.toml")).is_ok_and(|text| text.contains("[workspace]"))
    };
    current.ancestors().find(is_root).map(PathBuf::from).ok_or_else(|| "no workspace above here".to_owned())
}

fn print(finding: &Finding) {
    println!("{}:{}: [{}] {}", finding.path, finding.line, finding.rule, finding.message);
}

/// A table: findings of each rule in each directory below `crates/`, or at the top.
fn print_counts(findings: &[&Finding]) {
    let mut counts: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for finding in findings {
        let depth = if finding.path.starts_with("crates/") { 2 } else { 1 };
        let place = finding.path.split('/').take(depth).collect::<Vec<_>>().join("/");
        *counts.entry((finding.rule, place)).or_default() += 1;
    }
    println!();
    counts.iter().for_each(|((rule, place), count)| println!("{count:6}  {rule:20} {place}"));
    println!("{:6}  in all", findings.len());
}
