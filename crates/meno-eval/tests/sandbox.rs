//! Hostile programs in the sandbox: the corresponding limit stops each of them quickly.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use meno_eval::sandbox::{End, Limits, Outcome, Sandbox};
use meno_eval::tasks::{self, TaskOptions};
use meno_eval::verify::code::{Test, Tests, verify};
use meno_eval::{Split, Verdict};
use std::path::Path;
use std::time::{Duration, Instant};

/// Opens the sandbox. `None` if this machine does not support it; prints the reason.
fn sandbox() -> Option<Sandbox> {
    let limits = Limits { wall: Duration::from_secs(10), cpu_seconds: 2, memory_bytes: 256 << 20, ..Limits::default() };
    match Sandbox::open(Path::new("python3"), limits) {
        Ok(sandbox) => Some(sandbox),
        Err(error) => {
            assert!(error.to_string().starts_with("the sandbox: "), "{error}");
            eprintln!("skipped: {error}");
            None
        }
    }
}

fn run(program: &str) -> Option<Outcome> {
    let sandbox = sandbox()?;
    let start = Instant::now();
    let outcome = sandbox.run(program, "some input\n").unwrap();
    assert!(start.elapsed() < Duration::from_secs(60), "a run of ten seconds took {:?}", start.elapsed());
    Some(outcome)
}

#[test]
fn a_plain_program_runs() {
    let Some(outcome) = run("import sys, json, math\nprint(len(sys.stdin.read()), math.sqrt(16))\n") else { return };
    assert_eq!(outcome, Outcome { output: "11 4.0\n".into(), end: End::Done });
    let Some(outcome) = run("import sys\nsys.exit(3)") else { return };
    assert_eq!(outcome.end, End::Failed(3));
}

#[test]
fn loops_end() {
    let Some(outcome) = run("while True: pass") else { return };
    assert_ne!(outcome.end, End::Done);
    let Some(outcome) = run("import time\ntime.sleep(1000)") else { return };
    assert_eq!(outcome.end, End::OutOfTime);
}

#[test]
fn a_fork_bomb_is_contained_and_cleaned_up() {
    let name = format!("bomb-{}", std::process::id());
    let bomb = format!(
        "import ctypes, os, time\nctypes.CDLL(None).prctl(15, {name:?}.encode())\nmade = 0\nfor _ in range(1000):\n    \
         try:\n        if os.fork() == 0:\n            os.setsid()\n            time.sleep(1000)\n        \
         made += 1\n    except OSError:\n        break\nprint(made, flush=True)\ntime.sleep(1000)\n"
    );
    let Some(outcome) = run(&bomb) else { return };
    let made: usize = outcome.output.trim().parse().unwrap();
    assert!((1..16).contains(&made), "{made} processes");
    assert_eq!(outcome.end, End::OutOfTime);
    // All processes are gone, although each had left its process group.
    let named = |entry: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(entry.ok()?.path().join("comm")).ok().filter(|comm| comm.trim() == name)
    };
    let left = || std::fs::read_dir("/proc").unwrap().filter_map(named).count();
    let deadline = Instant::now() + Duration::from_secs(20);
    while left() > 0 {
        assert!(Instant::now() < deadline, "{} processes are left", left());
        std::thread::sleep(Duration::from_millis(20)); // killed processes stay visible until the kernel reaps them
    }
}

#[test]
fn memory_is_bounded() {
    let program = "try:\n    x = bytearray(1 << 30)\n    print('got it')\nexcept MemoryError:\n    print('refused')";
    let Some(outcome) = run(program) else { return };
    assert_eq!(outcome.output, "refused\n");
}

#[test]
fn output_and_files_are_bounded() {
    let Some(outcome) = run("while True: print('x' * 1000)") else { return };
    assert_ne!(outcome.end, End::Done);
    assert!(outcome.output.len() <= 1 << 20, "{}", outcome.output.len());
    let program = "n = 0\ntry:\n    while True:\n        open(f'f{n}', 'wb').write(bytes(1 << 20))\n        n += 1\n\
                   except OSError:\n    print(n)";
    let Some(outcome) = run(program) else { return };
    let files: u64 = outcome.output.trim().parse().unwrap();
    assert!((1..=16).contains(&files), "{files} files of 1 MiB");
}

#[test]
fn there_is_no_network() {
    // A server of this machine that responds; the program must not reach it.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let program = format!(
        "import socket\ntry:\n    socket.create_connection(('127.0.0.1', {port}), 2)\n    print('connected')\n\
         except OSError as e:\n    print('refused')\n"
    );
    let Some(outcome) = run(&program) else { return };
    assert_eq!(outcome.output, "refused\n");
}

#[test]
fn files_outside_are_inaccessible() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "the key").unwrap();
    for path in [dir.path(), &secret] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let program = format!(
        "import os\nfor how in ('r', 'a'):\n    try:\n        open({secret:?}, how)\n        print('opened', how)\n    \
         except OSError:\n        print('refused')\n\
         try:\n    os.unlink({secret:?})\n    print('gone')\nexcept OSError:\n    print('refused')\n\
         print(os.listdir('.'))\nopen('mine', 'w').write('x')\nprint(open('mine').read())\n"
    );
    let Some(outcome) = run(&program) else { return };
    assert_eq!(outcome.output, "refused\nrefused\nrefused\n[]\nx\n");
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "the key");
}

#[test]
fn other_processes_are_inaccessible() {
    let program = format!(
        "import os\ntry:\n    os.kill({}, 0)\n    print('reached')\nexcept OSError:\n    print('refused')\n\
         print(os.getpid())\n",
        std::process::id()
    );
    // Process 1 in its namespace is Meno's init.
    let Some(outcome) = run(&program) else { return };
    assert_eq!(outcome.output, "refused\n2\n");
}

#[test]
fn programs_are_judged() {
    let Some(sandbox) = sandbox() else { return };
    let case = |input: &str, output: &str| Test::Case { input: input.into(), output: output.into() };
    let text = Tests { tests: vec![case("1 2\n", "3\n"), case("5 -7\n", "-2\n")], ..Tests::default() };
    let call = Tests {
        function: Some("add".into()),
        tests: vec![case("1\n2", "3"), case("\"a\"\n\"b\"", "\"ab\"")],
        ..Tests::default()
    };
    let script = Tests { tests: vec![Test::Script("assert add(1, 2) == 3".into())], ..Tests::default() };
    let judge = |code: &str, tests: &Tests| verify(&sandbox, &format!("```python\n{code}\n```"), tests, false).unwrap();
    assert_eq!(judge("a, b = map(int, input().split())\nprint(a + b)", &text), Verdict::Right);
    assert_eq!(judge("print(3)", &text), Verdict::Wrong);
    assert_eq!(judge("def add(a, b):\n    return a + b", &call), Verdict::Right);
    let class = "class Solution:\n    def add(self, a, b):\n        print('hm')\n        return a + b";
    assert_eq!(judge(class, &call), Verdict::Right);
    assert_eq!(judge("def add(a, b):\n    return a - b", &call), Verdict::Wrong);
    assert_eq!(judge("def add(a, b):\n    return a + b", &script), Verdict::Right);
    assert_eq!(judge("def add(a, b):\n    return a", &script), Verdict::Wrong);
    // Exiting before the tests does not pass them.
    assert_eq!(judge("import sys\nsys.exit(0)", &script), Verdict::Wrong);
    assert_eq!(verify(&sandbox, "no code here", &text, false).unwrap(), Verdict::Unparsable);
    assert_eq!(verify(&sandbox, "```\nprint(3)\n```", &text, true).unwrap(), Verdict::Truncated);
}

/// A record of each published format.
const LINES: [&str; 4] = [
    // lint: long line
    r#"{"question_content":"Add.","public_test_cases":"[{\"input\":\"1 2\",\"output\":\"3\",\"testtype\":\"stdin\"}]","private_test_cases":"[]","starter_code":"","metadata":"{}"}"#,
    // lint: long line
    r#"{"question_content":"Add.","public_test_cases":"[{\"input\":\"1\\n2\",\"output\":\"3\",\"testtype\":\"functional\"}]","starter_code":"class Solution:\n    def add(self, a, b):","metadata":"{\"func_name\":\"add\"}"}"#,
    // lint: long line
    r#"{"prompt":"def add(a, b):\n    \"\"\"Add.\"\"\"","test":"def check(f):\n    assert f(1, 2) == 3","entry_point":"add"}"#,
    r#"{"text":"Write add.","test_list":["assert add(1, 2) == 3","assert add(2, 2) == 4"]}"#,
];

#[test]
fn published_formats_are_read_and_nothing_runs_without_permission() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("code.jsonl");
    std::fs::write(&path, LINES.join("\n")).unwrap();
    let name = path.display().to_string();
    let Err(refused) = tasks::open(&name, &TaskOptions::default()) else { panic!("programs would run unasked") };
    assert!(refused.to_string().contains("--sandbox"), "{refused}");
    if sandbox().is_none() {
        return;
    }
    let task = tasks::open(&name, &TaskOptions { sandbox: true, ..TaskOptions::default() }).unwrap();
    assert_eq!(task.len(Split::Test), Some(4));
    let function = "def add(a, b):\n    return a + b";
    let class = "class Solution:\n    def add(self, a, b):\n        return a + b";
    for (i, program) in ["print(sum(map(int, input().split())))", class, function, function].iter().enumerate() {
        let problem = task.problem(Split::Test, i as u64);
        let response = format!("<think>hm</think>Here:\n```python\n{program}\n```\n");
        assert_eq!(task.verify(&problem, &response, false), Verdict::Right, "{}", problem.question);
        assert_eq!(task.verify(&problem, "```python\nprint('no')\n```", false), Verdict::Wrong);
    }
    std::fs::write(&path, r#"{"question":"Add.","tests":[{"input":1}]}"#).unwrap();
    let error = tasks::open(&name, &TaskOptions { sandbox: true, ..TaskOptions::default() }).err().unwrap().to_string();
    assert!(error.contains("code.jsonl:1:") && error.contains("`tests`"), "{error}");
}
