"""Verifications per second of Math-Verify on the cases of crates/meno-eval/tests/data, and how many verdicts agree.

    pip install "math-verify==0.9.0"
    python dev/reference/math_verify_speed.py
    cargo bench -p meno-eval --bench verify        # the other side
"""

import json
import logging
import pathlib
import statistics
import time

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

logging.disable(logging.CRITICAL)
data = pathlib.Path(__file__).parents[2] / "crates/meno-eval/tests/data"
targets = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]


def judge(case):
    # A bare reference is a formula.
    gold = case["gold"] if "$" in case["gold"] or "boxed" in case["gold"] else f"${case['gold']}$"
    try:
        return bool(verify(parse(gold, targets), parse(case["response"], targets)))
    except Exception:
        return False


for name in ["math.jsonl", "math_verify.jsonl"]:
    cases = [json.loads(line) for line in (data / name).read_text().splitlines()]
    rounds = []
    for _ in range(3):
        start = time.process_time()
        verdicts = [judge(case) for case in cases]
        rounds.append(time.process_time() - start)
    paid = sum(v and not c["right"] for v, c in zip(verdicts, cases))
    missed = sum(not v and c["right"] for v, c in zip(verdicts, cases))
    rate = len(cases) / statistics.median(rounds)
    print(f"{name}: {rate:.0f} verifications/s; {paid} wrong answers paid, {missed} right ones missed of {len(cases)}")
