//! Records in the binary how it was built. `MENO_COMMIT` is the commit of the checkout, with `+` if tracked
//! files are changed; otherwise the commit from which the crate was packaged; otherwise `unknown`.
//! `MENO_TARGET` and `MENO_PROFILE` are the target and the profile. Git is optional.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::Command;

/// The output of a git command, if it succeeds.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|o| o.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// The commit of the checkout that contains this file. An unpacked crate may lie inside an unrelated
/// checkout, whose commit is not used.
fn of_checkout() -> Option<String> {
    git(&["ls-files", "--error-unmatch", "build.rs"])?;
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    // HEAD's log grows with every commit and every change of branch, regardless of where Git keeps the refs.
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", name])?;
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    // Any source file may switch between changed and unchanged.
    println!("cargo::rerun-if-changed=..");
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|s| !s.is_empty());
    Some(if changed { commit + "+" } else { commit })
}

/// The commit recorded by `cargo package`.
fn of_package() -> Option<String> {
    let info = std::fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, rest) = info.split_once("\"sha1\"")?;
    let sha1 = rest.split('"').nth(1)?;
    (sha1.len() >= 12 && sha1.bytes().all(|b| b.is_ascii_hexdigit())).then(|| sha1[..12].to_owned())
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let commit = of_checkout().or_else(of_package).unwrap_or_else(|| "unknown".into());
    println!("cargo::rustc-env=MENO_COMMIT={commit}");
    for (name, source) in [("MENO_TARGET", "TARGET"), ("MENO_PROFILE", "PROFILE")] {
        let value = std::env::var(source).unwrap_or_else(|_| "unknown".into());
        println!("cargo::rustc-env={name}={value}");
    }
}
