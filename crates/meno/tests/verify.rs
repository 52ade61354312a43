//! `meno verify` through the binary.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

#[path = "common/signals.rs"]
mod signals;

use serde_json::Value;
use std::io::Write;
use std::process::{Command, Output, Stdio};

fn meno(args: &[&str], input: &str) -> Output {
    let mut command = signals::meno();
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn error(args: &[&str], input: &str) -> String {
    let output = meno(args, input);
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_line_is_judged_with_its_reason() {
    let input = concat!(
        r#"{"gold": "\\frac{1}{2}", "response": "<think>hm</think>It is \\boxed{0.5}.", "right": true}"#,
        "\n\n",
        r#"{"gold": "5", "response": "\\boxed{6}", "right": true}"#,
        "\n",
        r#"{"gold": 5, "response": "<think>\\boxed{5}"}"#,
        "\n",
        r#"{"gold": "C", "response": "The answer is (C).", "truncated": true}"#,
        "\n",
        r#"{"question": {"question": "Q?", "choices": ["a", "b"], "answer": "B"}, "response": "Answer: B"}"#,
        "\n"
    );
    let output = meno(&["verify", "-"], input);
    assert!(output.status.success());
    let judged = lines(&output);
    let verdicts: Vec<&str> = judged.iter().map(|l| l["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["right", "wrong", "unparsable", "truncated", "right"]);
    assert_eq!((judged[0]["extracted"].as_str(), judged[0]["marker"].as_str()), (Some("0.5"), Some("box")));
    assert_eq!(judged[1]["line"], 3);
    assert_eq!(judged[1]["reason"], "6 is not 5");
    assert_eq!((judged[0]["agrees"].as_bool(), judged[1]["agrees"].as_bool()), (Some(true), Some(false)));
    let summary = String::from_utf8_lossy(&output.stderr);
    assert!(summary.contains("2 right, 1 wrong, 1 truncated, 1 unparsable; 1 of 2 given verdicts agree"), "{summary}");
}

#[test]
fn the_verifier_can_be_chosen() {
    let countdown = r#"{"gold": "3 4 8 = 20", "response": "<answer>(8-3)*4 = 21</answer>"}"#;
    assert_eq!(lines(&meno(&["verify", "-", "--verifier", "countdown"], countdown))[0]["verdict"], "wrong");
    let letter = r#"{"gold": "A", "response": "\\boxed{a}"}"#;
    assert_eq!(lines(&meno(&["verify", "-"], letter))[0]["verdict"], "right");
    assert_eq!(lines(&meno(&["verify", "-", "--verifier", "math"], letter))[0]["verdict"], "wrong");
}

#[test]
fn results_go_to_a_file_that_is_whole_or_absent() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (dir.path().join("in.jsonl"), dir.path().join("out.jsonl"));
    std::fs::write(&input, "{\"gold\": \"1\", \"response\": \"1\"}\nnot JSON\n").unwrap();
    let paths = [input.to_str().unwrap(), out.to_str().unwrap()];
    let message = error(&["verify", paths[0], "--out", paths[1]], "");
    assert!(message.contains("in.jsonl:2: not JSON"), "{message}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    std::fs::write(&input, "{\"gold\": \"1\", \"response\": \"1\"}\n").unwrap();
    assert!(meno(&["verify", paths[0], "--out", paths[1]], "").status.success());
    assert!(std::fs::read_to_string(&out).unwrap().contains("\"right\""));
    let message = error(&["verify", paths[0], "--out", paths[1]], "");
    assert!(message.contains("out.jsonl: already exists; use --force"), "{message}");
    assert!(meno(&["verify", paths[0], "--out", paths[1], "--force"], "").status.success());
}

#[test]
fn results_never_go_over_their_input() {
    let dir = tempfile::tempdir().unwrap();
    let (input, link) = (dir.path().join("in.jsonl"), dir.path().join("link.jsonl"));
    let line = "{\"gold\": \"1\", \"response\": \"1\"}\n";
    std::fs::write(&input, line).unwrap();
    std::fs::hard_link(&input, &link).unwrap();
    let (input, link) = (input.to_str().unwrap(), link.to_str().unwrap());
    for out in [input, link] {
        let message = error(&["verify", input, "--out", out, "--force"], "");
        assert!(message.contains("is the input"), "{message}");
    }
    // The same input on standard input.
    let mut command = signals::meno();
    command.args(["verify", "-", "--force", "--out", link]).stdin(std::fs::File::open(input).unwrap());
    let output = command.output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && message.contains("is the input (standard input)"), "{message}");
    assert_eq!(std::fs::read_to_string(input).unwrap(), line);
}

#[cfg(unix)]
#[test]
fn a_signal_leaves_no_half_of_the_results() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        let dir = tempfile::tempdir().unwrap();
        let names = || std::fs::read_dir(dir.path()).unwrap().count();
        let mut command = signals::meno();
        command.args(["verify", "-", "--out"]).arg(dir.path().join("out.jsonl"));
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"{\"gold\": \"1\", \"response\": \"1\"}\n").unwrap();
        // The command waits for the next line, and its output has a temporary name.
        while names() == 0 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{message}");
        assert!(message.contains("nothing was written"), "{message}");
        assert_eq!(names(), 0, "after {signal}");
    }
}

#[test]
fn what_is_missing_is_named() {
    assert!(error(&["verify", "-"], "{\"gold\": \"1\"}").contains("-:1: there is no string `response`"));
    assert!(error(&["verify", "-"], "{\"response\": \"1\"}").contains("neither `gold`"));
    let code = r#"{"question": {"question": "Add.", "tests": ["assert add(1,2)==3"]}, "response": "x"}"#;
    assert!(error(&["verify", "-"], code).contains("--sandbox"));
    let unreadable = r#"{"gold": "\\frac{", "response": "x"}"#;
    assert!(error(&["verify", "-"], unreadable).contains("-:1: the answer"));
    let empty = r#"{"question": {"question": "Q?", "answer": " "}, "response": "x"}"#;
    assert!(error(&["verify", "-"], empty).contains("the answer is empty"));
}
