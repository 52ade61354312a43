//! Programs that answer, and all the ways in which they fail.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use super::*;
use crate::data::Question;
use crate::observer::NoopObserver;
use crate::rewards::tests::{input, question};
use std::os::unix::fs::PermissionsExt;

/// Collects notes; stops after a number of checks.
#[derive(Default)]
struct Notes {
    notes: Vec<String>,
    stop: bool,
}

impl Observer for Notes {
    fn on_note(&mut self, line: &str) {
        self.notes.push(line.to_owned());
    }
    fn should_stop(&mut self) -> bool {
        self.stop
    }
}

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Dir {
        Dir(tempfile::tempdir().unwrap())
    }
    fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
    fn program(&self, text: &str, seconds: f32, restarts: usize) -> Program {
        let path = self.script("my_reward.sh", text);
        // The fork of another test may keep the file open for a moment; it cannot be executed until then.
        loop {
            match Program::start(&path, Duration::from_secs_f32(seconds), restarts) {
                Err(e) if e.to_string().contains("busy") => std::thread::sleep(Duration::from_millis(10)),
                other => return other.unwrap(),
            }
        }
    }
}

fn score(program: &Program, texts: &[&str]) -> Result<Vec<f32>, String> {
    scored(program, texts, &mut NoopObserver)
}

fn scored(program: &Program, texts: &[&str], observer: &mut dyn Observer) -> Result<Vec<f32>, String> {
    let record = json!({"question": "1+1?", "answer": 2, "level": "easy"}).as_object().unwrap().clone().into();
    let question = Question { index: 41, text: "1+1?".into(), answer: "2".into(), record, ..question("en") };
    let inputs: Vec<Input> = texts.iter().map(|text| input(&question, text)).collect();
    program.score_all(&inputs, observer).map(|s| s.expect("it was not stopped")).map_err(|e| e.to_string())
}

#[test]
fn answers_in_order_over_many_rollouts_by_one_process() {
    let dir = Dir::new();
    // The number of answers so far, alternately as an object and as a bare number.
    let program = dir.program(
        "n=0; while read -r l; do echo \"{\\\"reward\\\": $((n+=1))}\"; read -r l || exit; echo \" $((n+=1)).5\"; done",
        30.0,
        0,
    );
    assert_eq!(program.name(), "my_reward");
    assert_eq!(score(&program, &["a", "b"]).unwrap(), [1.0, 2.5]);
    assert_eq!(score(&program, &["a"; 4]).unwrap(), [3.0, 4.5, 5.0, 6.5]);
    assert_eq!(score(&program, &[]).unwrap(), [0f32; 0]);
}

#[test]
fn a_line_holds_the_answer_and_its_question() {
    let dir = Dir::new();
    let log = dir.0.path().join("log");
    let program =
        dir.program(&format!("while read -r l; do printf '%s\\n' \"$l\" >> {}; echo 0; done", log.display()), 30.0, 0);
    score(&program, &["two\nlines \"q\" 答"]).unwrap();
    let line: Value = serde_json::from_str(std::fs::read_to_string(log).unwrap().trim_end()).unwrap();
    let expected = json!({
        "question": "1+1?", "prompt": "", "completion": "two\nlines \"q\" 答", "answer": "2", "language": "en",
        "index": 41, "tokens": 17, "truncated": false, "verdict": "wrong", "id": 0,
        "record": {"question": "1+1?", "answer": 2, "level": "easy"},
    });
    assert_eq!(line, expected);
}

#[test]
fn a_large_rollout_fits_through_small_pipes() {
    let dir = Dir::new();
    // It reads all its input before it writes anything: more than the pipes can hold.
    let program = dir.program(
        "i=0; while [ $i -lt 300 ]; do read -r l; i=$((i+1)); done; while [ $i -gt 0 ]; do echo 1; i=$((i-1)); done; \
         cat >/dev/null",
        60.0,
        0,
    );
    let text = "x".repeat(4000);
    assert_eq!(score(&program, &vec![text.as_str(); 300]).unwrap(), [1.0; 300]);
}

#[test]
fn what_is_no_number_is_shown() {
    let dir = Dir::new();
    for (reply, part) in [
        ("good", "wrote \"good\" for answer 2 of 3"),
        ("NaN", "wrote \"NaN\", which is not finite"),
        ("{\"reward\": null}", "wrote \"{\\\"reward\\\": null}\""),
        ("{\"score\": 1}", "expected a number or {\"reward\": number}"),
        ("[1]", "wrote \"[1]\""),
        ("true", "wrote \"true\""),
        ("1e300", "not finite"),
        ("", "wrote \"\""),
    ] {
        let program = dir.program(&format!("read -r l; echo 1; read -r l; echo '{reply}'; cat >/dev/null"), 30.0, 3);
        let error = score(&program, &["a"; 3]).unwrap_err();
        assert!(error.contains("my_reward.sh` wrote") && error.contains(part), "{reply}: {error}");
    }
}

#[test]
fn a_program_that_ends_is_started_again_and_asked_for_the_rest() {
    let dir = Dir::new();
    let starts = dir.0.path().join("starts");
    // Each process answers two and exits on the third.
    let program = dir.program(
        &format!(
            "echo x >> {}; read -r l; echo 1; read -r l; echo 2; echo 'third is too much' >&2; exit 3",
            starts.display()
        ),
        30.0,
        1,
    );
    let mut notes = Notes::default();
    assert_eq!(scored(&program, &["a"; 6], &mut notes).unwrap(), [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
    assert_eq!(std::fs::read_to_string(starts).unwrap().lines().count(), 3);
    let text = notes.notes.join("\n");
    for part in ["exit status: 3", "answer 3 of 6 (question 41)", "started again", "third is too much"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn an_answer_that_always_kills_it_ends_the_run() {
    let dir = Dir::new();
    let program = dir.program("read -r l; echo 1; read -r l; echo boom >&2; exit 7", 30.0, 2);
    let error = score(&program, &["a"; 2]);
    // A new process handles it.
    assert_eq!(error.unwrap(), [1.0, 1.0]);
    let program = dir.program("read -r l; echo 'cannot import torch' >&2; exit 7", 30.0, 2);
    let error = score(&program, &["a"; 2]).unwrap_err();
    for part in ["exit status: 7", "answer 1 of 2 (question 41), 3 times", "cannot import torch"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn a_program_that_hangs_is_stopped_with_what_it_started() {
    let dir = Dir::new();
    let pids = dir.0.path().join("pids");
    let program =
        dir.program(&format!("read -r l; sleep 600 & echo $! >> {0}; echo $$ >> {0}; wait", pids.display()), 0.3, 1);
    let error = score(&program, &["a"]).unwrap_err();
    assert!(error.contains("wrote nothing for 0.3 s") && error.contains("2 times"), "{error}");
    let pids = std::fs::read_to_string(pids).unwrap();
    assert_eq!(pids.lines().count(), 4);
    for pid in pids.lines() {
        let gone = || {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // Orphans are reaped by their new parent at some later time: a zombie counts as ended.
            state.is_empty() || state.rsplit(')').next().is_some_and(|s| s.trim_start().starts_with('Z'))
        };
        let ended = (0..500).any(|_| {
            gone() || {
                std::thread::sleep(Duration::from_millis(10));
                false
            }
        });
        assert!(ended, "process {pid} is still there");
    }
}

#[test]
fn the_end_of_the_run_is_the_end_of_its_input() {
    let dir = Dir::new();
    let end = dir.0.path().join("end");
    let program = dir.program(&format!("while read -r l; do echo 1; done; echo done > {}", end.display()), 30.0, 0);
    score(&program, &["a"]).unwrap();
    drop(program);
    assert_eq!(std::fs::read_to_string(end).unwrap(), "done\n");
}

#[test]
fn a_line_too_many_is_noticed() {
    let dir = Dir::new();
    // Detected immediately, however slow its answers are: the first two of three answers have these three lines.
    for pause in ["0", "0.3"] {
        let program =
            dir.program(&format!("while read -r l; do sleep {pause}; echo 1; echo 2; done; cat >/dev/null"), 30.0, 0);
        let error = score(&program, &["a"; 3]).unwrap_err();
        assert!(error.contains("my_reward.sh` wrote \"2\" after the 3 lines for 3 answers"), "{error}");
    }
    let program = dir.program("read -r l; echo 1; echo 2; cat >/dev/null", 30.0, 0);
    assert!(score(&program, &["a"]).unwrap_err().contains("wrote \"2\" after the 1 lines"));
    // An extra line after that is detected before the next rollout.
    let program = dir.program("read -r l; echo 1; sleep 1; echo 2; cat >/dev/null", 30.0, 0);
    assert_eq!(score(&program, &["a"]).unwrap(), [1.0]);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(score(&program, &["a"]).unwrap_err().contains("wrote \"2\" when no answer was waiting"));
}

#[test]
fn a_reply_may_say_what_it_answers() {
    let dir = Dir::new();
    let ids = r#"while read -r l; do id=${l#*'"id":'}; id=${id%%,*}; echo "{\"id\":$id,\"reward\":$id}"; done"#;
    let program = dir.program(ids, 30.0, 0);
    assert_eq!(score(&program, &["a"; 3]).unwrap(), [0.0, 1.0, 2.0]);
    assert_eq!(score(&program, &["a"; 2]).unwrap(), [0.0, 1.0]);
    let program = dir.program("while read -r l; do echo '{\"id\":0,\"reward\":1}'; done", 30.0, 0);
    let error = score(&program, &["a"; 2]).unwrap_err();
    assert!(error.contains("another `id`, for answer 2 of 2 (id 1)"), "{error}");
}

#[test]
fn endless_lines_take_no_memory() {
    let dir = Dir::new();
    let program = dir.program(
        "yes | tr -d '\\n' | head -c 50000000 >&2; read -r l; yes 1 | tr -d '\\n' | head -c 50000000; echo; cat \
         >/dev/null",
        60.0,
        0,
    );
    let error = score(&program, &["a"]).unwrap_err();
    assert!(error.len() < 1000 && error.contains("wrote \"1111"), "{error}");
}

#[test]
fn ctrl_c_does_not_wait_for_it() {
    let dir = Dir::new();
    let program = dir.program("sleep 600", 500.0, 0);
    let question = question("en");
    let mut notes = Notes { stop: true, ..Notes::default() };
    assert_eq!(program.score_all(&[input(&question, "a")], &mut notes).unwrap(), None);
}

#[test]
fn what_cannot_be_started_says_why() {
    let dir = Dir::new();
    let start = |path: &Path| Program::start(path, Duration::from_secs(1), 0).err().unwrap().to_string();
    assert!(start(Path::new("./no-such-reward")).contains("`./no-such-reward` does not exist; paths are relative to"));
    let plain = dir.script("plain", "echo 1");
    std::fs::set_permissions(&plain, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(start(&plain).contains("not executable (chmod +x"));
    let lost = dir.0.path().join("lost");
    std::fs::write(&lost, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&lost, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(start(&lost).contains("interpreter in its first line"));
    assert!(start(dir.0.path()).contains("is a directory"));
}
