"""Prints what clients.py, clients.mjs and harness.py found as a table: `python dev/serving/matrix.py RESULTS`."""

import json
import sys

rows = [json.loads(line) for line in open(sys.argv[1]) if line.startswith("{")]
clients, features = (list(dict.fromkeys(row[key] for row in rows)) for key in ("client", "feature"))
cells = {(row["client"], row["feature"]): row for row in rows}
print("| |", " | ".join(clients), "|")
print("|---|" + "---|" * len(clients))
for feature in features:
    marks = [cells.get((client, feature)) for client in clients]
    print(f"| {feature} |", " | ".join("" if m is None else "yes" if m["ok"] else "**no**" for m in marks), "|")
failed = [row for row in rows if not row["ok"]]
for row in failed:
    print(f"\n{row['client']}, {row['feature']}: {row['why']}")
print(f"\n{len(rows) - len(failed)} of {len(rows)} hold")
sys.exit(bool(failed))
