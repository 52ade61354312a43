//! Runs the tests of the chat page that need no browser, if Node is installed.

use std::path::Path;
use std::process::Command;

/// Runs `dev/page/*.test.mjs` except `browser-*`; `make page` runs those too.
#[test]
fn the_modules_of_the_page_pass_their_tests() {
    let node = Command::new("node").arg("--version").output();
    let version = node.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default();
    let major = version.trim_start_matches('v').split('.').next().and_then(|n| n.parse::<u32>().ok());
    if major.is_none_or(|major| major < 20) {
        eprintln!("skipped: the page's tests need Node 20 or later (found {version:?})");
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dev/page");
    let names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let tests: Vec<String> =
        names.filter(|name| name.ends_with(".test.mjs") && !name.starts_with("browser-")).collect();
    assert!(!tests.is_empty());
    let run = Command::new("node").arg("--test").args(tests).current_dir(folder).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
}
