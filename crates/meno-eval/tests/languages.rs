//! Programs in other languages than Python, code block detection, and errors that prevent a judgement.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use meno_eval::sandbox::{Language, Limits, Sandbox};
use meno_eval::tasks::code::{Code, tests_of};
use meno_eval::verify::code::{Judgement, Tests, judge};
use meno_eval::{Error, Split, Task, Verdict};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// Opens a sandbox with a long limit, so that no verdict depends on other load on the machine.
fn sandbox() -> Option<Sandbox> {
    within(60)
}

fn within(seconds: u64) -> Option<Sandbox> {
    let limits = Limits { wall: Duration::from_secs(seconds), cpu_seconds: 2, ..Limits::default() };
    Sandbox::open(Path::new("python3"), limits).inspect_err(|error| eprintln!("skipped: {error}")).ok()
}

fn sums() -> Tests {
    tests_of(&json!({"description": "sum", "public_tests": {"input": ["1 2\n"], "output": ["3\n"]},
        "private_tests": {"input": ["-5 2\n"], "output": ["-3\n"]}}))
    .unwrap()
}

/// Judges programs in a language. Skips if this machine cannot run it, and checks that the error says so.
fn in_language(tag: &str, language: Language, cases: &[(&str, bool)]) {
    let Some(sandbox) = sandbox() else { return };
    for (program, right) in cases {
        let judged = match judge(&sandbox, &format!("```{tag}\n{program}\n```"), &sums(), false) {
            Ok(judged) => judged,
            Err(Error::Sandbox(reason)) if reason.contains("install") => return eprintln!("skipped: {reason}"),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(judged.verdict == Verdict::Right, *right, "{}\n{program}", judged.reason);
        assert_eq!(judged.language, Some(language));
    }
}

#[test]
fn cpp() {
    let cases = [
        (
            "#include <bits/stdc++.h>\n\
             int main() { long long a, b; std::cin >> a >> b; std::cout << a + b << std::endl; }",
            true,
        ),
        ("#include <iostream>\nint main() { std::cout << 3; }", false),
        ("#include <iostream>\nint main() { std::cout << 3 }", false),
        ("#include <iostream>\nint main() { int a, b; std::cin >> a >> b; std::cout << a + b; return 1; }", false),
        ("#include \"../private\"\nint main() {}", false),
        ("int main() { for (;;); }", false),
    ];
    in_language("cpp", Language::Cpp, &cases);
}

#[test]
fn rust() {
    let cases = [
        (
            "fn main() {\n    let text = std::io::read_to_string(std::io::stdin()).unwrap();\n    \
             let sum: i64 = text.split_whitespace().map(|w| w.parse::<i64>().unwrap()).sum();\n    \
             println!(\"{sum}\");\n}",
            true,
        ),
        ("fn main() { println!(\"3\"); }", false),
        ("fn main() { println!(\"{}\", 3) + }", false),
    ];
    in_language("rust", Language::Rust, &cases);
}

#[test]
fn javascript() {
    let cases = [
        ("const [a, b] = require('fs').readFileSync(0, 'utf8').split(' ').map(Number);\nconsole.log(a + b);", true),
        (
            "const [a, b] = require('fs').readFileSync('/dev/stdin', 'utf8').split(' ').map(Number);\n\
             console.log(a + b);",
            true,
        ),
        (
            "import fs from 'fs';\nconst [a, b] = fs.readFileSync(0, 'utf8').split(' ').map(Number);\n\
             console.log(a + b);",
            true,
        ),
        (
            "const lines = require('readline').createInterface({ input: process.stdin });\n\
             lines.on('line', l => console.log(l.split(' ').map(Number).reduce((a, b) => a + b)));",
            true,
        ),
        ("console.log(3); process.exit(0)", false),
        ("const all = []; while (true) all.push(new Array(1e6).fill(1.5));", false),
    ];
    in_language("js", Language::JavaScript, &cases);
}

#[test]
fn a_missing_compiler_is_an_error_with_a_remedy() {
    // The error names what is missing. A verdict would blame the answer.
    let Some(sandbox) = sandbox() else { return };
    for (tag, name) in [("rust", "rustc"), ("cpp", "g++"), ("js", "node")] {
        match judge(&sandbox, &format!("```{tag}\n\n!\n```"), &sums(), false) {
            Ok(judged) => assert_eq!(judged.verdict, Verdict::Wrong, "{}", judged.reason),
            Err(error) => assert!(error.to_string().contains(name), "{error}"),
        }
    }
}

fn judged(question: &Value, response: &str) -> Option<Judgement> {
    Some(judge(&sandbox()?, response, &tests_of(question).unwrap(), false).unwrap())
}

#[test]
fn a_response_may_give_the_function_or_only_its_body() {
    let test = "def check(candidate):\n    assert candidate([3, 1]) == [1, 3]\n    assert tail([1, 2]) == [2]\n";
    let question = json!({"prompt": "from typing import List\nimport math\n\n\ndef tail(xs):\n    return xs[1:]\n\n\n\
                                     def order(xs: List[int]) -> List[int]:\n    \"\"\"Sorted.\n    \
                                     >>> order([2, 1])\n    [1, 2]\n    \"\"\"\n",
        "entry_point": "order", "test": test});
    for (code, right) in [
        ("def order(xs: List[int]) -> List[int]:\n    return sorted(xs)", true), // the prompt's imports
        ("def order(xs):\n    return [min(xs)] + tail(sorted(xs))", true),       // and its helpers
        ("    return sorted(xs)", true),
        ("return sorted(xs)", true),
        ("ys = list(xs)\nys.sort()\nreturn ys", true),
        ("def order(xs):\n    return xs", false),
        ("return xs", false),
        ("def sort(xs):\n    return sorted(xs)", false),
    ] {
        let Some(judged) = judged(&question, &format!("```python\n{code}\n```")) else { return };
        assert_eq!(judged.verdict == Verdict::Right, right, "{}\n{code}", judged.reason);
    }
}

#[test]
fn evalplus() {
    // The reference solution gives the results for inputs that `test` lacks; EvalPlus' own test uses NumPy.
    let test =
        "import numpy as np\n\ndef check(candidate):\n    np.testing.assert_allclose(candidate(2), 1.0, atol=1e-6)\n";
    let question = json!({"prompt": "def half(x):\n", "canonical_solution": "    return x / 2\n", "entry_point": "half",
        "test": test, "base_input": [[2]], "plus_input": [[3], [-1]], "atol": 0});
    for (code, right) in [
        ("def half(x): return 0.5 * x", true),
        ("def half(x): return 0.5 * x + 1e-9", true), // 1e-6 for floating-point numbers
        ("def half(x): return x // 2 * 1.0", false),  // passes `test` alone
    ] {
        let Some(judged) = judged(&question, &format!("```python\n{code}\n```")) else { return };
        assert_eq!(judged.verdict == Verdict::Right, right, "{}\n{code}", judged.reason);
    }
}

#[test]
fn apps_calls_and_lists() {
    let packed = r#"{"fn_name": "f", "inputs": [[[1, 2]], [[]]], "outputs": [[[2, 1]], [[]]]}"#;
    let question = json!({"question": "reverse", "input_output": packed});
    for (code, right) in [
        ("def f(xs): return xs[::-1]", true), // the results are wrapped in lists
        ("class Solution:\n    def f(self, xs: List[int]): return list(reversed(xs))", true),
        ("def f(xs): return xs", false),
    ] {
        let Some(judged) = judged(&question, &format!("```python\n{code}\n```")) else { return };
        assert_eq!(judged.verdict == Verdict::Right, right, "{}\n{code}", judged.reason);
    }
    // Whole numbers of any size.
    let big = r#"{"fn_name": "f", "inputs": [[100000000000000000000]], "outputs": [[100000000000000000001]]}"#;
    let question = json!({"question": "next", "input_output": big});
    for (code, right) in [("def f(n): return n + 1", true), ("def f(n): return n", false)] {
        let Some(judged) = judged(&question, &format!("```python\n{code}\n```")) else { return };
        assert_eq!(judged.verdict == Verdict::Right, right, "{}\n{code}", judged.reason);
    }
    let lines = json!({"question": "sum", "input_output": {"inputs": [["1", "2"]], "outputs": [["3", "0.3333333"]]}});
    for (code, right) in [
        ("print(sum(int(input()) for _ in range(2)))\n\nprint()\nprint(1 / 3)", true), // fractions as numpy.allclose
        ("print(4)\nprint(1 / 3)", false),
    ] {
        let Some(judged) = judged(&lines, &format!("```python\n{code}\n```")) else { return };
        assert_eq!(judged.verdict == Verdict::Right, right, "{}\n{code}", judged.reason);
    }
}

#[test]
fn reasons_name_the_failed_test() {
    let calls = json!({"question": "f", "function": "f", "tests": [
        {"input": "1", "output": "1"}, {"input": "2", "output": "4"}]});
    let text = json!({"question": "t", "tests": [{"input": "", "output": "abc\n"}]});
    let script = json!({"text": "s", "test_list": ["assert f(1) == 1", "assert f(2) == 4"]});
    for (question, code, reason) in [
        (&calls, "def f(x): return x", "test 2: the result differs; expected 4, got 2"),
        (&calls, "def f(x): return 1 / 0", "test 1: ZeroDivisionError: division by zero; expected 1"),
        (&calls, "def f(x", "the program does not load: SyntaxError"),
        (&calls, "def f(x):\n    while True: pass", "time limit"),
        (&calls, "def g(x): return 1", "no function `f`"),
        (&text, "print('abd')", "test 1: expected \"abc\", got \"abd\""),
        (&text, "raise KeyError('k')", "KeyError: 'k'"),
        (&text, "x = bytearray(4 << 30)", "memory limit"),
        (&script, "def f(x): return x", "test 2: an assertion fails; expected assert f(2) == 4"),
    ] {
        let Some(judged) = judged(question, &format!("```python\n{code}\n```")) else { return };
        assert_eq!(judged.verdict, Verdict::Wrong);
        assert!(judged.reason.contains(reason), "{} for {code}", judged.reason);
    }
    let Some(hasty) = within(2) else { return };
    let asleep =
        judge(&hasty, "```python\nimport time\ntime.sleep(99)\n```", &tests_of(&text).unwrap(), false).unwrap();
    assert_eq!(asleep.reason, "test 1: time limit (2 s) exceeded");
    let Some(none) = judged(&text, "It prints abc.") else { return };
    assert_eq!(
        (none.verdict, none.program, none.reason.as_str()),
        (Verdict::Unparsable, None, "there is no code block")
    );
}

#[test]
fn broken_tests_are_an_error_and_not_a_verdict() {
    let Some(sandbox) = sandbox() else { return };
    for (question, part) in [
        (json!({"text": "f", "test_list": ["assert f(1) =="]}), "SyntaxError"),
        (json!({"text": "f", "test_list": ["import no_such_module\nassert f(1) == 1"]}), "no_such_module"),
        (
            json!({"text": "f", "test_setup_code": "import no_such_module", "test_list": ["assert f(1)"]}),
            "no_such_module",
        ),
        (json!({"question": "f", "function": "f", "tests": [{"input": "not JSON", "output": "1"}]}), "cannot be read"),
        (json!({"text": "f", "test_list": ["import numpy as np\nassert np.fft(f(1))"]}), "numpy"),
    ] {
        let tests = tests_of(&question).unwrap();
        // If NumPy is installed, it provides what the last case requests.
        match judge(&sandbox, "```python\ndef f(x): return 1\n```", &tests, false) {
            Err(error) => assert!(error.to_string().contains(part), "{error}"),
            Ok(judged) => assert!(part == "numpy", "{}", judged.reason),
        }
    }
}

#[test]
fn a_failing_sandbox_is_an_error_and_not_a_verdict() {
    use std::os::unix::fs::PermissionsExt;
    // An interpreter that exists when the sandbox opens but not when the program runs.
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let python = dir.path().join("python/bin/python3");
    std::fs::create_dir_all(python.parent().unwrap()).unwrap();
    let Some(real) = ["/usr/bin/python3", "/usr/local/bin/python3"].iter().find(|p| Path::new(p).exists()) else {
        return;
    };
    std::fs::copy(real, &python).unwrap();
    let sandbox = match Sandbox::open(&python, Limits::default()) {
        Ok(sandbox) => sandbox,
        Err(error) => return eprintln!("skipped: {error}"),
    };
    let path = dir.path().join("set.jsonl");
    std::fs::write(&path, r#"{"text": "f", "test_list": ["assert f(1) == 1"]}"#).unwrap();
    let task = Code::open(&path, sandbox).unwrap();
    let problem = task.problem(Split::Test, 0);
    let verdict = |body: &str| task.verify(&problem, &format!("```python\ndef f(x): return {body}\n```"), false);
    assert_eq!(verdict("x"), Verdict::Right);
    task.check().unwrap();
    std::fs::remove_file(&python).unwrap();
    verdict("1");
    let error = task.check().unwrap_err().to_string();
    assert!(error.contains("python/bin/python3"), "{error}");
    task.check().unwrap(); // reported once
}
