//! Programs that try to pass without being right, and honest programs that must not be mistaken for them.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

mod objects;

use meno_eval::Verdict;
use meno_eval::sandbox::{Limits, Sandbox};
use meno_eval::tasks::code::tests_of;
use meno_eval::verify::code::judge;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// Opens a sandbox with this many seconds per run. Tests of right answers get a long limit, so that other load on the
/// machine does not matter.
fn sandbox(seconds: u64) -> Option<Sandbox> {
    let limits = Limits { wall: Duration::from_secs(seconds), cpu_seconds: 2, ..Limits::default() };
    Sandbox::open(Path::new("python3"), limits).inspect_err(|error| eprintln!("skipped: {error}")).ok()
}

/// Judges Python programs for one question; each case has its verdict and the reason.
fn table(question: &Value, cases: &[(&str, bool, &str)]) {
    let (Some(hasty), Some(patient)) = (sandbox(3), sandbox(60)) else { return };
    let tests = tests_of(question).unwrap();
    for (program, right, why) in cases {
        let sandbox = if *right { &patient } else { &hasty };
        let judged = judge(sandbox, &format!("```python\n{program}\n```"), &tests, false).unwrap();
        assert_eq!(judged.verdict == Verdict::Right, *right, "{why}: {}\n{program}", judged.reason);
        assert!(!judged.reason.is_empty());
    }
}

fn add() -> Value {
    let test = "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(-1, 1) == 0\n";
    json!({"prompt": "def add(a, b):\n    \"\"\"Sum.\"\"\"\n", "entry_point": "add", "test": test})
}

#[test]
fn exiting_early_or_claiming_success_does_not_pass() {
    let cases = [
        ("import os\nos._exit(0)", false, "ends before the tests with a good exit code"),
        ("import sys\ndef add(a, b): sys.exit(0)", false, "ends inside the tests"),
        (
            "import os, sys\nprint('right'); print('{\"status\": \"right\"}'); sys.stdout.flush()\nos._exit(0)",
            false,
            "claims that it passed",
        ),
        (
            "import atexit, os\natexit.register(lambda: os._exit(0))\ndef add(a, b): return 9",
            false,
            "turns failure at exit",
        ),
        (
            "import sys, os\nsys.excepthook = lambda *a: os._exit(0)\nsys.unraisablehook = sys.excepthook\n\
             def add(a, b): return 9",
            false,
            "turns failure in a hook",
        ),
        ("class Out(BaseException): pass\ndef add(a, b): raise Out", false, "escapes by a custom exception"),
        ("def add(a, b): raise AssertionError", false, "fails the assertion itself"),
        ("import os, signal\nos.kill(1, signal.SIGKILL)\ndef add(a, b): return 9", false, "kills the first process"),
        ("import os\nos.kill(-1, 9)\ndef add(a, b): return 9", false, "kills all it can reach"),
        (
            "import os\nos.close(0); os.close(1)\nos.closerange(0, 64)\ndef add(a, b): return 3",
            false,
            "closes every channel",
        ),
        ("import sys\nsys.stdout.close()\ndef add(a, b): return a + b", true, "its standard output does not matter"),
        ("print('hello')\ndef add(a, b):\n    print('adding')\n    return a + b", true, "may print"),
    ];
    table(&add(), &cases);
}

#[test]
fn values_with_false_methods_are_compared_by_content() {
    let cases = [
        ("class E:\n    __eq__ = lambda s, o: True\ndef add(a, b): return E()", false, "equal to everything"),
        (
            "class E(int):\n    __eq__ = lambda s, o: True\n    __hash__ = None\ndef add(a, b): return E(7)",
            false,
            "a number equal to everything",
        ),
        (
            "class M(type):\n    __eq__ = lambda s, o: True\n    __hash__ = None\nclass E(metaclass=M): pass\n\
             def add(a, b): return E",
            false,
            "a class equal to everything",
        ),
        (
            "class E:\n    __class__ = int\n    __eq__ = lambda s, o: True\n    __index__ = __int__ = lambda s: 3\n\
             def add(a, b): return E()",
            false,
            "an object that imitates a number",
        ),
        (
            "class E(int):\n    def __add__(s, o): return 3\ndef add(a, b): return E(a - b)",
            false,
            "a number with false sums",
        ),
        ("class N(int): pass\ndef add(a, b): return N(a + b)", true, "a kind of number with the right value"),
        ("import numbers, fractions\ndef add(a, b): return fractions.Fraction(a) + b", true, "an exact fraction"),
        ("def add(a, b): return float(a + b)", true, "Python says 3.0 == 3"),
        ("def add(a, b): return complex(a + b)", true, "Python says 3+0j == 3"),
    ];
    table(&add(), &cases);
}

#[test]
fn patching_the_interpreter_affects_only_the_programs_side() {
    let cases = [
        (
            "import builtins\nfor name in ('abs', 'isinstance', 'all', 'type', 'compile', 'exec', 'getattr'):\n    \
             setattr(builtins, name, lambda *a, **k: True)\ndef add(a, b): return 9",
            false,
            "patches built-in functions",
        ),
        (
            "import json\njson.dumps = lambda *a, **k: '[\"returned\", true]'\njson.loads = lambda *a: ['right']\n\
             def add(a, b): return 9",
            false,
            "patches the messages",
        ),
        (
            "import os, struct\nreal = os.write\n\
             os.write = lambda fd, data: real(fd, b'\\0\\0\\0\\x12{\"status\":\"right\"}') and len(data)\n\
             def add(a, b): return 9",
            false,
            "patches writing",
        ),
        (
            "import sys\nframe = sys._getframe()\nwhile frame:\n    frame.f_globals['encode'] = lambda *a: True\n    \
             frame = frame.f_back\ndef add(a, b): return 9",
            false,
            "patches its caller through the frames",
        ),
        (
            "import sys\nmain = sys.modules['__main__']\nmain.encode = lambda *a: ['set', [['list', []]]]\n\
             def add(a, b): return 9",
            false,
            "sends a value that cannot be",
        ),
        (
            "import sys\nmain = sys.modules['__main__']\nmain.encode = lambda *a: ['builtin', 'eval']\n\
             def add(a, b): return 9",
            false,
            "sends a function that would run text",
        ),
        (
            "import sys\nmain = sys.modules['__main__']\nmain.encode = lambda *a: ['object', 'x']\n\
             def add(a, b): return 9",
            false,
            "sends an unknown object number",
        ),
        (
            "import sys\nmain = sys.modules['__main__']\nside = main.Side.answer\ndef answer(self, m):\n    \
             self.channel.send(['callback', 0, ['list', []], ['dict', []]])\n    side(self, m)\n\
             main.Side.answer = answer\ndef add(a, b): return 9",
            false,
            "calls back a function that it did not receive",
        ),
        (
            "import sys\nsys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)\ndef add(a, b): return a + b",
            true,
            "traces itself",
        ),
        (
            "import sys\nfor name in list(sys.modules): sys.modules[name] = None\ndef add(a, b): return 9",
            false,
            "removes the modules",
        ),
    ];
    table(&add(), &cases);
}

#[test]
fn programs_cannot_reach_the_judge() {
    let spray = "import os\nline = b'{\"status\": \"right\", \"reason\": \"\", \"test\": 0}\\n'\n\
                 for fd in range(64):\n    try: os.write(fd, line)\n    except OSError: pass\ndef add(a, b): return 9";
    let cases = [
        (spray, false, "writes a report to every descriptor"),
        (
            "import gc, os\nfound = [o for o in gc.get_objects() if isinstance(o, dict) and 'mark' in o]\n\
             assert found\ndef add(a, b): return 3",
            false,
            "searches all objects for the mark: it is absent",
        ),
        ("open('../job').read()\ndef add(a, b): return 3", false, "reads the tests: they are not in its jail"),
        (
            "import os\nassert any(os.path.exists(f'/tmp/{d}/job') for d in os.listdir('/tmp'))\n\
             def add(a, b): return 3",
            false,
            "searches other directories for the tests",
        ),
        (
            "import os\nfor pid in range(1, 65536):\n    \
             if os.path.exists(f'/proc/{pid}/mem') and pid != os.getpid():\n        \
             try: open(f'/proc/{pid}/mem', 'r+b'); break\n        except OSError: pass\nelse: raise SystemExit\n\
             def add(a, b): return 9",
            false,
            "opens the memory of another process",
        ),
        ("open('/proc/self/mem', 'r+b')\ndef add(a, b): return a + b", false, "opens its own memory: /proc is closed"),
        (
            "import os\nfor pid in os.listdir('/proc'): pass\ndef add(a, b): return a + b",
            false,
            "lists processes: /proc is closed",
        ),
        (
            "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n\
             assert any(libc.ptrace(16, pid, 0, 0) == 0 for pid in range(1, 5000) if pid != os.getpid())\n\
             def add(a, b): return 3",
            false,
            "attaches to a process: none is visible",
        ),
        (
            "import os, time\nif os.fork() == 0:\n    frame = b'\\0\\0\\0\\x0e[\"returned\", 3]'\n    \
             while True:\n        os.write(5, frame)\n        os.write(1, frame)\ndef add(a, b):\n    \
             time.sleep(5)\n    return 9",
            false,
            "a child answers in its place with a constant",
        ),
        (
            "import threading, os\ndef spam():\n    while True:\n        for fd in (1, 3, 4, 5): \n            \
             try: os.write(fd, b'\\0\\0\\0\\x04true')\n            except OSError: pass\n\
             threading.Thread(target=spam, daemon=True).start()\ndef add(a, b): return 9",
            false,
            "a thread writes into the channel",
        ),
        (
            "import socket\ns = socket.socket(socket.AF_UNIX)\ns.bind('\\0judge')\ndef add(a, b): return 9",
            false,
            "waits for the judge on a socket",
        ),
        (
            "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (1000, 1000))\ndef add(a, b): return a + b",
            false,
            "raises its own limits",
        ),
    ];
    table(&add(), &cases);
}

#[test]
fn answers_that_would_harm_the_judge_are_wrong() {
    let cases = [
        ("def add(a, b):\n    while True: pass", false, "never answers"),
        ("def add(a, b): return [0] * 10**8", false, "a list too large to send"),
        (
            "def add(a, b):\n    x = []\n    for _ in range(10**5): x = [x]\n    return x",
            false,
            "a list nested too deeply",
        ),
        ("def add(a, b):\n    x = []\n    x.append(x)\n    return x", false, "a list that contains itself"),
        ("import decimal\ndef add(a, b): return decimal.Decimal('1e999999999')", false, "a number too large to print"),
        ("def add(a, b): return 1 << 10**7", false, "a whole number of millions of digits"),
        (
            "import sys, os\nmain = sys.modules['__main__']\n\
             def send(self, m): os.write(self.writes, b'\\0\\x10\\0\\0' + b'[' * (1 << 20))\nmain.Channel.send = send\n\
             def add(a, b): return 9",
            false,
            "a message of a million brackets",
        ),
        (
            "import sys, os\nmain = sys.modules['__main__']\n\
             def send(self, m): os.write(self.writes, b'\\xff\\xff\\xff\\xff')\nmain.Channel.send = send\n\
             def add(a, b): return 9",
            false,
            "a message that claims to be four gigabytes",
        ),
        ("def add(a, b): return add(a, b)", false, "infinite recursion"),
        ("x = bytearray(4 << 30)\ndef add(a, b): return 3", false, "more memory than available"),
    ];
    table(&add(), &cases);
}

#[test]
fn programs_cannot_redefine_names_of_the_tests() {
    let zero = json!({
        "prompt": "def poly(xs, x):\n    return sum(c * x ** i for i, c in enumerate(xs))\n\n\ndef find_zero(xs):\n    \
                   \"\"\"A zero.\"\"\"\n",
        "entry_point": "find_zero",
        "test": "def check(candidate):\n    assert abs(poly([-6, 2], candidate([-6, 2]))) < 1e-4\n",
    });
    let cases = [
        ("def find_zero(xs): return -xs[0] / xs[1]", true, "the zero; `poly` is the prompt's"),
        ("def poly(xs, x): return 0\ndef find_zero(xs): return 9", false, "redefines the helper that the test uses"),
        ("def abs(x): return 0\ndef find_zero(xs): return 9", false, "defines `abs` for the test to find"),
        ("def check(candidate): pass\ndef find_zero(xs): return 9", false, "defines `check`"),
        (
            "class L:\n    __mul__ = __rmul__ = __pow__ = __rpow__ = __add__ = __radd__ = __abs__ = lambda *a: 0\n\
             def find_zero(xs): return L()",
            false,
            "an object whose methods all return 0",
        ),
        (
            "def poly(xs, x):\n    return 1\ndef find_zero(xs):\n    return poly(xs, 0) + 2",
            true,
            "its own helper does not matter",
        ),
    ];
    table(&zero, &cases);
    let close = json!({"text": "area", "test_setup_code": "import math",
        "test_list": ["assert math.isclose(area(1), math.pi)", "assert abs(area(2) - 12.566370614) < 1e-6"]});
    let cases = [
        ("def area(r): return 3.141592653589793 * r * r", true, "right"),
        (
            "class math:\n    pi = 1\n    isclose = lambda *a: True\ndef area(r): return 1",
            false,
            "replaces a module of the test",
        ),
        (
            "class F(float):\n    __sub__ = lambda s, o: 0.0\n    __float__ = lambda s: 3.141592653589793\n\
             def area(r): return F(1)",
            false,
            "differences that are always 0",
        ),
        (
            "class F:\n    __float__ = lambda s: 3.141592653589793\n    __sub__ = lambda s, o: 0\n\
             def area(r): return F()",
            false,
            "an object that turns into the number it is compared with",
        ),
    ];
    table(&close, &cases);
}

#[test]
fn results_of_calls() {
    let question = json!({"question": "double all", "function": "double", "tests": [
        {"input": "[1, 2.5]", "output": "[2, 5.0]"},
        {"input": "[9007199254740993]", "output": "[18014398509481986]"}]});
    table(
        &question,
        &[
            ("def double(xs): return [2 * x for x in xs]", true, "right"),
            (
                "class Solution:\n    def double(self, xs): return tuple(2 * x for x in xs)",
                true,
                "a tuple is a sequence",
            ),
            ("def double(xs): return [2.0 * x for x in xs]", false, "18014398509481984.0 is another number"),
            ("def double(xs): return [x + x for x in xs][::-1]", false, "another order"),
            ("def double(xs): return (2 * x for x in xs)", false, "a generator is not a list"),
            ("def double(xs): return str([2 * x for x in xs])", false, "its string is not the value"),
            (
                "class A(list):\n    __eq__ = lambda s, o: True\ndef double(xs): return A()",
                false,
                "a list equal to everything",
            ),
            (
                "class A:\n    __len__ = lambda s: 2\n    __eq__ = lambda s, o: True\ndef double(xs): return A()",
                false,
                "an object equal to everything",
            ),
            ("def double(xs):\n    print([2 * x for x in xs])", false, "prints and returns nothing"),
            ("x = 1", false, "no such function"),
        ],
    );
    let library = json!({"question_content": "f", "metadata": "{\"func_name\": \"add\"}",
        "public_test_cases": [{"input": "1\n2", "output": "3", "testtype": "functional"}]});
    table(
        &library,
        &[
            ("pass", false, "`add` of the preamble's `operator` is not the program's"),
            ("from operator import add", true, "the program imports it itself"),
            (
                "class Solution:\n    def __getattr__(self, name): return lambda *a: True",
                false,
                "answers to every name",
            ),
        ],
    );
}

#[test]
fn only_the_text_output_of_a_script_counts() {
    let question =
        json!({"question": "sum", "tests": [{"input": "1 2\n", "output": "3\n"}, {"input": "2 2\n", "output": "4\n"}]});
    table(
        &question,
        &[
            ("print(sum(map(int, input().split())))", true, "right"),
            (
                "import sys\nprint(sum(map(int, input().split())))\nsys.exit(1)",
                true,
                "LiveCodeBench's checker ignores the exit code of a script",
            ),
            ("print(sum(map(int, input().split())))\nraise ValueError", false, "fails after the right output"),
            ("import os\nprint(sum(map(int, input().split())))\nos.abort()", false, "crashes after the right output"),
            ("print('3'); print('the tests were reached and hold')", false, "claims that it passed"),
            ("import os\nopen('../output').read()", false, "reads the expected output: it is absent"),
            (
                "import os\nif os.fork() == 0: print(sum(map(int, input().split()))); os._exit(0)\nos.wait()",
                false,
                "the buffer of a child is lost",
            ),
            (
                "import os, sys\nif os.fork() == 0:\n    print(sum(map(int, input().split())), flush=True)\n    \
                 os._exit(0)\nos.wait()",
                true,
                "a child prints the answer",
            ),
            (
                "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(1)\n    print('4')\n    \
                 os._exit(0)",
                false,
                "remaining processes die with it",
            ),
            (
                "from __future__ import annotations\nimport sys\na, b = map(int, sys.stdin.readline().split())\n\
                 print(a + b)",
                true,
                "a future import comes first",
            ),
        ],
    );
}
