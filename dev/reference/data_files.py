"""The same records in every kind of file that training reads, for crates/meno-train/tests/data_files.rs.

    python dev/reference/data_files.py

pyarrow writes Parquet in the variants that are met in the wild (codec, page version, encoding, small pages and row
groups), pandas CSV and TSV, gzip and zstandard compress. `records.json` holds what each must read as: absent values are
nulls in Parquet and missing keys elsewhere, so nulls are left out.
"""

import csv
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

OUT = Path(__file__).resolve().parents[2] / "crates/meno-train/tests/fixtures/data"

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
FLAT = [
    {"prompt": f"frage {i} «ünïcode» 你好", "completion": f"answer {i}\nwith, \"quotes\"\tand\r\nlines", "source": f"s{i % 3}"}
    if i % 5
    else {"prompt": f"frage {i}", "completion": f"{i}"}
    for i in range(40)
]
NESTED = [
    {
        "messages": [
            {"role": "user", "content": f"q{i}"},
            {"role": "assistant", "tool_calls": [CALL], "weight": 0}
            if i % 2
            else {"role": "assistant", "content": f"a{i}", "reasoning_content": "x" * (i % 4)},
            *([{"role": "tool", "content": "1", "tool_call_id": "c1"}, {"role": "assistant", "content": "one"}] if i % 2 else []),
        ],
        "n": i * 1_000_000_007,
        "small": i - 20,
        "ok": i % 3 == 0,
        "score": i / 8,
        "half": i * 0.5,
        "tags": [f"t{j}" for j in range(i % 4)],
        "deep": [[j, j + 1] for j in range(i % 3)],
        "facts": {f"k{j}": j for j in range(i % 3)},
        **({"maybe": f"m{i}"} if i % 7 == 0 else {}),
    }
    for i in range(60)
]
CALLS = pa.list_(
    pa.struct(
        [("id", pa.string()), ("type", pa.string()), ("function", pa.struct([("name", pa.string()), ("arguments", pa.string())]))]
    )
)
MESSAGE = pa.struct(
    [
        ("role", pa.string()),
        ("content", pa.string()),
        ("reasoning_content", pa.string()),
        ("tool_calls", CALLS),
        ("tool_call_id", pa.string()),
        ("weight", pa.int32()),
    ]
)
SCHEMA = pa.schema(
    [
        ("messages", pa.list_(MESSAGE)),
        ("n", pa.int64()),
        ("small", pa.int8()),
        ("ok", pa.bool_()),
        ("score", pa.float64()),
        ("half", pa.float32()),
        ("tags", pa.list_(pa.string())),
        ("deep", pa.list_(pa.list_(pa.uint32()))),
        ("facts", pa.map_(pa.string(), pa.int64())),
        ("maybe", pa.string()),
    ]
)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "records.json").write_text(json.dumps({"flat": FLAT, "nested": NESTED}, ensure_ascii=False) + "\n")
    lines = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in FLAT)
    (OUT / "bom.jsonl").write_bytes(b"\xef\xbb\xbf" + lines.replace("\n", "\r\n\r\n", 3).encode())
    (OUT / "array.json").write_text(json.dumps(FLAT, ensure_ascii=False, indent=1) + "\n")
    (OUT / "objects.json").write_text("\n".join(json.dumps(r, ensure_ascii=False, indent=2) for r in FLAT))
    members = [gzip.compress(part.encode(), mtime=0) for part in (lines[:700], lines[700:])]
    (OUT / "members.jsonl.gz").write_bytes(b"".join(members))
    pack = zstandard.ZstdCompressor(level=19, write_checksum=True).compress
    skip = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
    (OUT / "frames.jsonl.zst").write_bytes(pack(lines[:700].encode()) + skip + pack(lines[700:].encode()))
    for name, delimiter in (("quoted.csv", ","), ("quoted.tsv", "\t")):
        with open(OUT / name, "w", newline="", encoding="utf-8") as f:
            writer = csv.DictWriter(f, ["prompt", "completion", "source"], delimiter=delimiter)
            writer.writeheader()
            writer.writerows(FLAT)
    (OUT / "quoted.csv.gz").write_bytes(gzip.compress((OUT / "quoted.csv").read_bytes(), mtime=0))
    columns = pa.schema([(name, pa.string()) for name in ("prompt", "completion", "source")])
    flat, nested = pa.Table.from_pylist(FLAT, schema=columns), pa.Table.from_pylist(NESTED, schema=SCHEMA)
    strings = {"prompt": "DELTA_BYTE_ARRAY", "completion": "DELTA_LENGTH_BYTE_ARRAY"}
    pq.write_table(flat, OUT / "snappy.parquet")
    pq.write_table(flat, OUT / "zstd_v2.parquet", compression="zstd", data_page_version="2.0", row_group_size=11)
    pq.write_table(flat, OUT / "gzip_plain.parquet", compression="gzip", use_dictionary=False, data_page_size=200)
    pq.write_table(flat, OUT / "delta.parquet", compression="none", use_dictionary=False, column_encoding=strings)
    pq.write_table(nested, OUT / "nested_snappy.parquet")
    pq.write_table(
        nested, OUT / "nested_v2.parquet", compression="zstd", data_page_version="2.0", data_page_size=64, row_group_size=17
    )
    numbers = {"n": "DELTA_BINARY_PACKED", "small": "DELTA_BINARY_PACKED", "score": "PLAIN", "maybe": "PLAIN"}
    pq.write_table(
        nested, OUT / "nested_delta.parquet", compression="gzip", use_dictionary=["tags.list.element"], column_encoding=numbers,
        write_batch_size=8,
    )
    pq.write_table(flat, OUT / "brotli.parquet", compression="brotli")


if __name__ == "__main__":
    main()
