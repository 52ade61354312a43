#!/usr/bin/env python3
"""Fuzzes the judge of programs: fuzz/judge.py SECONDS [SEED].

The judge (crates/meno-eval/src/verify/code) asks a program that it does not trust for values, over a pipe. This plays
the program: it answers with messages that are right in form, changed in one place, or random. No exam may end as
`right`, since every exam asks for a secret number that is never sent. No exam may end without a report, take more
than five seconds, or more than 2 GiB. The inputs of what fails lie in fuzz/artifacts/judge.

libFuzzer cannot see into Python, so this one stands alone and is not guided by coverage; it prints the share of the
judge's lines that the run reached.
"""

import json, os, pathlib, random, resource, struct, sys, time, types

HERE = pathlib.Path(__file__).resolve().parent
CODE = HERE.parent / "crates/meno-eval/src/verify/code"
SECRET = 7_304_118_529_016_447  # in no message
JOBS = [
    {"function": "f", "calls": [{"input": "1", "output": str(SECRET)}]},
    {"function": "f", "calls": [{"input": "[1, 2]\n{}", "output": json.dumps([SECRET, "a", {"k": [1.5]}])}]},
    {"function": "f", "rules": "apps", "calls": [{"inputs": [[{"1": 2}]], "outputs": [[{"1": SECRET}]]}]},
    {"scripts": [f"assert f(2) == {SECRET}"]},
    {"scripts": [f"assert sorted(f([3, 1])) == [1, {SECRET}]\n"]},
    {"scripts": [f"def key(x):\n    return -x\nassert list(f(key, [1, 2])) == [{SECRET}]"]},
    {"scripts": [f"s = Stack()\ns.push(1)\nassert len(s) == {SECRET}\nassert s.pop() == {SECRET}"]},
    {"scripts": [f"try:\n    f(-1)\nexcept ValueError:\n    pass\nassert next(iter(f(1))) == {SECRET}"]},
    {"scripts": [f"x = [1, 2]\nf(x)\nassert x == [{SECRET}]"]},
    {"scripts": [f"for item in f(3):\n    assert item == 1\nassert {{**f(4)}} == {{'a': {SECRET}}}"]},
    {"scripts": [f"assert str(f(1)) == '{SECRET}' and f(1)[0] and isinstance(f(2), str) and f(3).x == 1"]},
    {"scripts": [f"import decimal, datetime\nfor x in (1.5, (1,), {{2}}, b'3', 1j, range(4), decimal.Decimal(5), {{6: 7}}.items(), "
                 f"datetime.date(2026, 1, 1), len, ..., ValueError('x'), lambda x: 1 / 0):\n    f(x)\nassert f(0) == {SECRET}"]},
    {"scripts": [f"class Node:\n    pass\nn = f(Node)\nn.next = f(1)\nn[0] = n.next\nassert n or len(n)\nfor a, b in zip(n, n):\n"
                 f"    assert a == b\nassert [*n][0] is None or {{n}} and n.value == {SECRET}"]},
    {"scripts": [f"p = Point(1, y=2)\nassert p.x in p and p[0] and not p.y\nassert isinstance(p, Point)\nassert p.z == {SECRET}"]},
    {"plus": {"reference": f"def find_zero(xs):\n    return {SECRET}.5\n", "entry": "find_zero", "inputs": [[[SECRET, 1, 3]]],
              "atol": 1e-6}, "scripts": []},
    {"plus": {"reference": f"def f(x):\n    return [{SECRET}.5]\n", "entry": "f", "inputs": [[1], [2]], "atol": 1e-6},
     "scripts": []},
    {"prompt": "from typing import List\n\ndef f(x: List[int]) -> int:\n    ...\n", "entry": "f",
     "scripts": [f"def check(candidate):\n    assert candidate([1]) == {SECRET}\ncheck(f)"]},
]
TAGS = ("list tuple set frozenset range dict Counter OrderedDict date datetime time int float bytes bytearray complex "
        "deque Decimal Fraction keys values items timedelta Ellipsis type builtin exception object callback").split()
TEXTS = ["", "a", "f", "0x10", "-0x0", "0x" + "f" * 4000, "inf", "nan", "0x1p1023", "1e400", "1e999999999", "2026-11-27",
         "12:30", "00ff", "len", "eval", "exit", "int", "ValueError", "SystemExit", "StopIteration", "UnicodeDecodeError",
         "KeyboardInterrupt", "AssertionError", "ImportError", "solution", "math", "\ud800", "\0", "__class__", "_number"]
NUMBERS = [0, 1, -1, 2, 255, 1 << 31, -(1 << 63), 1 << 64, 10**30, True, False, None, 1.5]


def value(rng, depth=0):
    """A value in the protocol's form, or nearly."""
    kind = rng.random()
    if depth > 3 or kind < 0.25:
        return rng.choice(NUMBERS)
    if kind < 0.4:
        return rng.choice(TEXTS)
    if kind < 0.45:
        return {rng.choice(TEXTS): value(rng, depth + 1)}
    tag = rng.choice(TAGS)
    some = lambda: [value(rng, depth + 1) for _ in range(rng.choice((0, 1, 1, 2, 3, 40)))]
    if tag in ("object", "callback"):
        return [tag, rng.choice((0, 1, 2, 10**9, -1, "x"))]
    if tag in ("dict", "Counter", "OrderedDict", "items"):
        return [tag, [[value(rng, 4), value(rng, depth + 1)] for _ in range(rng.choice((0, 1, 2, 5)))]]
    if tag in ("int", "float", "bytes", "bytearray", "Decimal", "type", "builtin", "date", "datetime", "time"):
        return [tag, rng.choice(TEXTS)]
    if tag in ("complex", "Fraction"):
        return [tag, rng.choice(TEXTS), rng.choice(TEXTS)]
    if tag == "exception":
        return [tag, [rng.choice(TEXTS) for _ in range(rng.randrange(3))], rng.choice(TEXTS)]
    if tag == "timedelta":
        return [tag, *some()]
    return [tag, some()]


def changed(rng, message):
    """The message with one place replaced."""
    if type(message) is not list or not message or rng.random() < 0.2:
        return value(rng)
    message, place = list(message), rng.randrange(len(message))
    message[place] = changed(rng, message[place])
    return message


def reply(rng, asked):
    """What the program says to a message."""
    what = asked[0] if type(asked) is list and asked else None
    names = [["f", ["solution", None]], ["Stack", ["solution", None]], ["math", ["math", None]]]
    number = rng.randrange(1, 9)
    made = rng.choice((["object", number], ["list", [1, ["object", number]]], ["list", []], "a", ["dict", [["a", 1]]], 1))
    fitting = {"load": ["list", [["list", [n, ["list", w]]] for n, w in names]], "function": ["object", 0],
               "global": ["object", number], "iter": ["object", number], "len": rng.randrange(3), "bool": rng.random() < 0.5,
               "str": "x", "call": made, "get": made, "item": made, "next": made, "isinstance": True}.get(what)
    likely = ["returned", fitting if fitting is not None and rng.random() < 0.9 else value(rng)]
    choice = rng.random()
    if choice < 0.03 or what == "next" and choice < 0.3:
        name = "StopIteration" if what == "next" else rng.choice(TEXTS)
        return ["raised", [name, *(rng.choice(TEXTS) for _ in range(rng.randrange(2)))], rng.choice(TEXTS)]
    if choice < 0.1:
        return ["callback", rng.choice((0, 0, 0, 1, -1, "0")), ["list", [value(rng)]], ["dict", []]]
    if what == "call" and choice < 0.3:
        return ["returned", None, [value(rng) for _ in range(rng.randrange(3))]]
    return changed(rng, likely) if choice < 0.2 else likely


class Finished(BaseException):
    """The exam has reported."""


def exam(rng, judge, job):
    """Runs an exam; what was reported, and what was sent."""
    space = {"__name__": "judge", "__builtins__": __builtins__}
    sent, state = [], {"left": 60, "pending": b"", "asked": None}

    def read(_, size):
        if not state["pending"]:
            if state["left"] == 0:
                return b""
            state["left"] -= 1
            if rng.random() < 0.02:
                data = rng.randbytes(rng.randrange(30))
            else:
                data = json.dumps(reply(rng, state["asked"])).encode("utf-8", "surrogatepass")
            if rng.random() < 0.02 and data:
                place = rng.randrange(len(data))
                data = data[:place] + rng.randbytes(1) + data[place + rng.randrange(2):]
            length = len(data) if rng.random() < 0.99 else rng.choice((0, 1, 1 << 24, (1 << 32) - 1))
            sent.append(data.decode("latin-1"))
            state["pending"] = struct.pack(">I", length) + data
        part, state["pending"] = state["pending"][:size], state["pending"][size:]
        return part

    def write(_, data):
        try:
            state["asked"] = json.loads(bytes(data)[4:])
        except ValueError:
            state["asked"] = None
        return len(data)

    outcome = {}

    def report(self, status, reason="", **more):
        outcome.setdefault("status", status)
        json.dumps({"reason": reason, **more})
        raise Finished

    system = types.SimpleNamespace(read=read, write=write, dup=lambda fd: fd, dup2=lambda a, b: None, O_RDWR=0,
                                   open=lambda *_: 9, close=lambda _: None)
    waits = types.SimpleNamespace(select=lambda reads, *_: (reads, [], []))
    job = {"mark": "m", "seconds": 5.0, "call_seconds": 2.0, "function": None, "rules": "plain", "setup": "", "prompt": None,
           "entry": None, "plus": None, "scripts": [], **job, "calls": [json.dumps(c) for c in job.get("calls", [])]}
    exec(judge["start"], space)
    space.update(os=system, select=waits)
    Exam = space["Exam"]
    Exam.report = report
    Exam.__init__ = lambda self: self.__dict__.update(
        job=job, report_to=2, channel=space["Channel"](0, 1), callbacks=[], classes=set(), members=set(), number=0,
        end=time.monotonic() + job["seconds"])
    try:
        exec(judge["end"], space)
    except Finished:
        pass
    finally:
        if "NoNumpy" in str(type(sys.modules.get("numpy"))):
            del sys.modules["numpy"]
    return outcome.get("status"), sent


def halves():
    """The judge's source, before and after the line that makes the exam."""
    source = "\n\n".join((CODE / name).read_text() for name in ("values.py", "objects.py", "examiner.py"))
    before, mark, after = source.partition("sys.setrecursionlimit(10000)\n")
    assert mark, "the judge has no longer the line that this cuts at"
    lines = before.count("\n")
    return {"start": compile(before, "judge", "exec"), "end": compile("\n" * lines + mark + after, "judge", "exec")}, source


def main():
    seconds, seed = float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    judge, source = halves()
    reached = set()

    def trace(frame, event, _):
        if frame.f_code.co_filename != "judge":
            return None
        reached.add(frame.f_lineno)
        return trace

    end, runs, ends = time.monotonic() + seconds, 0, {}
    while time.monotonic() < end:
        number = seed * 1_000_000_000 + runs
        rng = random.Random(number)
        job, start = JOBS[runs % len(JOBS)], time.monotonic()
        sys.settrace(trace if runs < 2000 or rng.random() < 0.05 else None)
        try:
            status, sent = exam(rng, judge, job)
        except BaseException as error:
            if type(error) is KeyboardInterrupt and time.monotonic() - start > 0.5:
                raise
            status, sent = f"no report: {type(error).__name__}: {error}", []
        took = time.monotonic() - start
        runs += 1
        ends[status] = ends.get(status, 0) + 1
        if status not in ("wrong", "ended", "tests") or took > 5:
            folder = HERE / "artifacts/judge"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / str(number)).write_text(json.dumps({"job": job, "sent": sent, "status": status, "seconds": took}))
            print(f"exam {number}: {status} after {took:.1f} s; see {folder / str(number)}", file=sys.stderr)
            sys.exit(1)
    code = {n for unit in judge.values() for n in lines_of(unit)}
    print(f"{runs} exams, {ends}, {100 * len(reached & code) / len(code):.0f} % of the judge's lines")
    if os.environ.get("FUZZ_MISSED"):
        print("\n".join(f"{n}: {source.splitlines()[n - 1]}" for n in sorted(code - reached)))


def lines_of(code):
    yield from (line for _, _, line in code.co_lines() if line)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from lines_of(constant)


if __name__ == "__main__":
    main()
