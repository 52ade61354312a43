//! `meno doctor` through the binary.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use meno_eval::sandbox::walls;
use std::process::Command;

#[test]
fn every_wall_is_listed_and_a_missing_one_fails() {
    let output = Command::new(env!("CARGO_BIN_EXE_meno")).arg("doctor").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let all_ok = walls().iter().all(|wall| text.lines().any(|line| line.trim() == format!("ok         {wall}")));
    for wall in walls() {
        assert!(text.contains(wall), "{wall} is not in\n{text}");
    }
    assert_eq!(output.status.code(), Some(i32::from(!all_ok)), "{text}{errors}");
    assert_eq!(all_ok, text.contains("Python: /"), "{text}");
    if !all_ok {
        assert!(errors.starts_with("error: the sandbox: "), "{errors}");
    }
}

#[test]
fn a_machine_without_an_interpreter_says_so() {
    let output = Command::new(env!("CARGO_BIN_EXE_meno")).arg("doctor").env("PATH", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("python3") && errors.contains("PATH"), "{errors}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("not tried"));
}
