//! `meno doctor` through the binary.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use meno_eval::sandbox::layers;
use std::process::Command;

#[test]
fn every_layer_is_listed_and_a_missing_one_fails() {
    let output = Command::new(env!("CARGO_BIN_EXE_meno")).args(["doctor", "--quick"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let all_ok = layers().iter().all(|layer| text.lines().any(|line| line.trim() == format!("ok         {layer}")));
    for layer in layers() {
        assert!(text.contains(layer), "{layer} is not in\n{text}");
    }
    assert_eq!(output.status.code(), Some(i32::from(!all_ok)), "{text}{errors}");
    assert_eq!(all_ok, text.contains("Python: /"), "{text}");
    if !all_ok {
        assert!(errors.starts_with("error: the sandbox: "), "{errors}");
    }
}

#[test]
fn a_machine_without_an_interpreter_says_so() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_meno")).args(["doctor", "--quick"]).env("PATH", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("python3") && errors.contains("PATH"), "{errors}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("not tried"));
}

#[test]
fn everything_is_there_as_json_too() {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_meno"));
    command.args(["doctor", "--json"]).env("HF_HOME", home.path()).env("HF_ENDPOINT", "http://127.0.0.1:9");
    let output = command.env_remove("HF_HUB_OFFLINE").env_remove("HF_HUB_CACHE").output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for key in ["meno", "processor", "memory", "disk", "hub", "gpu", "sandbox", "speed"] {
        assert!(report[key].is_object(), "{key}: {report:#}");
    }
    let kernel = report["processor"]["kernels"]["f32"].as_str().unwrap();
    assert!(["avx512", "avx2", "portable"].contains(&kernel), "{kernel}");
    assert!(report["disk"]["here"]["free_bytes"].as_u64().unwrap() > 0);
    for key in ["f32", "bf16", "int8", "read"] {
        let speed = report["speed"][key]["measured"].as_f64().unwrap();
        assert!(speed.is_finite() && speed > 0.01, "{key}: {speed}");
    }
    // If the hub does not respond, the report contains advice.
    assert_eq!(report["hub"]["hub"]["reachable"], false);
    let advice = report["advice"].as_array().unwrap();
    assert!(advice.iter().any(|a| a.as_str().unwrap().contains("HF_ENDPOINT")), "{advice:?}");
    assert_eq!(report["sandbox"]["works"], serde_json::Value::Bool(output.status.success()));
}
