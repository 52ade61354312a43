"""Writes Math-Verify's published test cases as JSON lines, with Math-Verify's own verdict on each.

    pip download --no-deps --no-binary :all: math-verify==0.9.0 && tar xzf math_verify-0.9.0.tar.gz
    pip install "math-verify==0.9.0" pytest
    cd math_verify-0.9.0 && python …/dev/reference/math_verify_cases.py > …/crates/meno-eval/tests/data/math_verify.jsonl

The cases are the (gold, prediction, expected) triples of the parametrised tests of the source distribution, and those
with a precision beside them. Math-Verify is licensed under Apache-2.0.
"""

import importlib
import json
import sys

sys.path.insert(0, ".")
NAMES = ["test_all", "test_boxed", "test_numina_cases", "test_open_thoughts", "test_yujianll", "test_strict"]
seen = 0
for name in NAMES:
    module = importlib.import_module(f"tests.{name}")
    for function in vars(module).values():
        for mark in getattr(function, "pytestmark", []):
            if mark.name != "parametrize" or getattr(function, "__module__", "") != module.__name__:
                continue
            keys = mark.args[0] if isinstance(mark.args[0], list) else [k.strip() for k in mark.args[0].split(",")]
            for values in mark.args[1]:
                case = dict(zip(keys, values))
                expected = case.get("expected", case.get("result"))
                if "gold" not in case or "pred" not in case:
                    continue
                # Two options of Math-Verify that loosen its own verdict have no counterpart.
                if case.get("strict") is False or case.get("allow_set_relation_comp"):
                    continue
                line = {"gold": case["gold"], "response": case["pred"], "right": bool(expected), "test": function.__name__}
                print(json.dumps(line, ensure_ascii=False))
                seen += 1
print(f"{seen} cases", file=sys.stderr)
