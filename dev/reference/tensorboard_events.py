"""Golden bytes for crates/meno-train/src/tensorboard/wire.rs, and a reader of event files.

    pip install tensorboard
    python dev/reference/tensorboard_events.py             # writes the golden file
    python dev/reference/tensorboard_events.py DIR         # what TensorBoard reads of the runs under DIR

Reading checks that a run's event files hold what its metrics.jsonl holds, every step once.
"""

import json
import math
import os
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

GOLDEN = Path(__file__).parents[2] / "crates/meno-train/tests/golden/events.tfevents"


def scalars(**values):
    return Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])


def golden():
    events = [
        Event(wall_time=1_700_000_000.25, file_version="brain.Event:2"),
        Event(wall_time=1_700_000_001.5, step=1, summary=scalars(**{"train/loss": 2.5, "train/completions/mean_length": 131.0})),
        Event(wall_time=1_700_000_002.5, step=8, session_log=SessionLog(status=SessionLog.START)),
        Event(wall_time=1_700_000_003.5, step=300, summary=scalars(**{"eval/pass1": 0.0, "train/grad_norm": math.nan})),
        Event(wall_time=1_700_000_004.5, step=301, summary=scalars()),
    ]
    with open(GOLDEN, "wb") as file:
        writer = RecordWriter(file)
        for event in events:
            writer.write(event.SerializeToString())
        writer.flush()
    print(f"{GOLDEN}: {GOLDEN.stat().st_size} bytes")


def check(run):
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    files = sorted(run.glob("events.out.tfevents.*"))
    raw = [e.step for f in files for e in EventFileLoader(str(f)).Load() if e.HasField("summary")]
    assert raw == [s["step"] for s in steps], f"{run}: steps {raw}"
    reader = EventAccumulator(str(run), size_guidance={"scalars": 0, "tensors": 0})
    reader.Reload()
    tags = reader.Tags()
    told = {tag: {e.step: e.value for e in reader.Scalars(tag)} for tag in tags["scalars"]}
    for step in steps:
        for name, value in step.items():
            if name in ("step", "warnings"):
                continue
            read = told[name if name.startswith("eval/") else f"train/{name}"][step["step"]]
            # A float32 of a float64; JSON has null where a figure is no number.
            assert math.isnan(read) if value is None else math.isclose(read, value, rel_tol=1e-6, abs_tol=1e-30), (name, read, value)
    print(f"{run}: {len(files)} files, {len(steps)} steps, {len(told)} tags")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        golden()
    else:
        runs = [Path(root) for root, _, files in os.walk(sys.argv[1]) if "metrics.jsonl" in files]
        assert runs, f"{sys.argv[1]} holds no metrics.jsonl"
        for run in sorted(runs):
            check(run)
