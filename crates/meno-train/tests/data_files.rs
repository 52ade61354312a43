//! Data files of every kind give the same records as in Python (`dev/reference/data_files.py`); damaged or hostile
//! files are errors, in bounded memory.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use flate2::Compression;
use flate2::write::GzEncoder;
use meno_tensor::rng::Rng;
use meno_train::data::records;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data").join(name)
}

fn read(path: &Path) -> Result<Vec<(usize, Value)>, String> {
    let mut all = Vec::new();
    let result = records(path, |line, value| {
        all.push((line, value));
        Ok(())
    });
    result.map(|()| all).map_err(|e| e.to_string())
}

/// A value without its nulls.
fn bare(value: Value) -> Value {
    match value {
        Value::Object(map) => map.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, bare(v))).collect(),
        Value::Array(items) => items.into_iter().map(bare).collect(),
        other => other,
    }
}

#[test]
fn the_same_records_in_every_kind_of_file() {
    let golden: Value = serde_json::from_slice(&std::fs::read(fixture("records.json")).unwrap()).unwrap();
    let flat = ["bom.jsonl", "array.json", "objects.json", "members.jsonl.gz", "frames.jsonl.zst", "quoted.csv"];
    let more =
        ["quoted.tsv", "quoted.csv.gz", "snappy.parquet", "zstd_v2.parquet", "gzip_plain.parquet", "delta.parquet"];
    let nested = ["nested_snappy.parquet", "nested_v2.parquet", "nested_delta.parquet"];
    let files = flat.iter().chain(&more).map(|f| (f, "flat")).chain(nested.iter().map(|f| (f, "nested")));
    for (file, kind) in files {
        let found = read(&fixture(file)).unwrap_or_else(|e| panic!("{e}"));
        let expected = golden[kind].as_array().unwrap();
        assert_eq!(found.len(), expected.len(), "{file}");
        for ((_, found), expected) in found.into_iter().zip(expected) {
            assert_eq!(bare(found), *expected, "{file}");
        }
    }
}

#[test]
fn records_have_their_lines() {
    let lines = |file: &str| read(&fixture(file)).unwrap().iter().map(|r| r.0).take(5).collect::<Vec<_>>();
    assert_eq!(lines("bom.jsonl"), [1, 3, 5, 7, 8]);
    assert_eq!(lines("array.json"), [2, 6, 11, 16, 21]);
    assert_eq!(lines("quoted.csv"), [2, 3, 6, 9, 12]);
    assert_eq!(lines("snappy.parquet"), [1, 2, 3, 4, 5]);
}

struct Dir(tempfile::TempDir);

impl Dir {
    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn dir() -> Dir {
    Dir(tempfile::tempdir().unwrap())
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let dir = dir();
    for (name, text, expected) in [
        ("a.jsonl", "{\"a\":1}\n{\"a\":\n", "a.jsonl:2: not JSON"),
        ("a.json", "[{\"a\":1},\n{\"a\":}]", "a.json:2: not JSON"),
        ("b.json", "[{\"a\":1}] 7", "b.json:1: not JSON"),
        ("c.json", "{\"a\":1}\n\n{\"a\"", "c.json:3: not JSON"),
        ("a.csv", "a,b\n1,2\n3\n", "a.csv:3: CSV error"),
        ("b.csv", "a,a\n1,2\n", "b.csv:1: two columns have the name `a`"),
        ("a.parquet", "PAR1 but no more than that", "does not end with PAR1"),
        ("b.parquet", "", "too short"),
    ] {
        let error = read(&dir.write(name, text)).unwrap_err();
        assert!(error.contains(expected), "{name}: {error}");
    }
    assert!(read(&dir.write("u.jsonl", [0xff, 0xfe, b'{', 0])).unwrap_err().contains("UTF-16"));
    assert!(read(&dir.write("z.jsonl", [0x28, 0xb5, 0x2f, 0xfd, 1, 2, 3])).unwrap_err().contains("zstd"));
    assert!(read(&dir.write("g.jsonl", [0x1f, 0x8b, 8, 0, 1, 2, 3])).is_err());
    assert!(read(&fixture("brotli.parquet")).unwrap_err().contains("is compressed with Brotli; write it with snappy"));
    // Errors of the caller are reported with the location too.
    let error =
        records(&fixture("array.json"), |line, _| if line > 6 { Err("no".into()) } else { Ok(()) }).unwrap_err();
    assert!(error.to_string().ends_with("array.json:11: no"), "{error}");
}

/// Writes a gzip file: `head`, then `fill` repeated `times` times. Each part is compressed once; gzip concatenates
/// them.
fn bomb(dir: &Dir, name: &str, head: &str, fill: &[u8], times: usize) -> PathBuf {
    let member = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    dir.write(name, [member(head.as_bytes()), member(fill).repeat(times)].concat())
}

#[test]
fn bombs_are_refused_in_bounded_memory() {
    let dir = dir();
    // One line, one string, one quoted cell that never ends.
    let endless = vec![b'x'; 1 << 20];
    for (name, head) in [("l.jsonl.gz", "{\"a\":\""), ("s.json.gz", "[{\"a\":\""), ("c.csv.gz", "a,b\n1,\"")] {
        let error = read(&bomb(&dir, name, head, &endless, 100)).unwrap_err();
        assert!(error.contains("a record of more than 64 MiB"), "{name}: {error}");
    }
    // Many small records: the file decompresses to a thousand times its size.
    let line = format!("{{\"a\": \"{}\"}}\n", "x".repeat((1 << 20) - 10));
    let path = bomb(&dir, "m.jsonl.gz", "", line.as_bytes(), 1100);
    let mut seen = 0;
    let error = records(&path, |_, _| {
        seen += 1;
        Ok(())
    });
    assert!(error.unwrap_err().to_string().contains("decompresses to more than 256 times its size"));
    assert!(seen >= 1000, "a file may grow to 1 GiB: {seen}");
    #[cfg(target_os = "linux")]
    {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
        let kib: u64 = peak.trim().trim_end_matches(" kB").trim().parse().unwrap();
        assert!(kib < 1 << 20, "{kib} KiB at the most");
    }
    assert!(read(&dir.write("deep.json", "[".repeat(100_000))).unwrap_err().contains("recursion limit"));
    assert!(read(&dir.write("deep.jsonl", "[".repeat(100_000))).unwrap_err().contains("recursion limit"));
}

#[test]
fn damaged_files_are_errors_or_records() {
    let dir = dir();
    let names = ["nested_v2.parquet", "nested_delta.parquet", "delta.parquet", "snappy.parquet", "frames.jsonl.zst"];
    for (number, name) in names.iter().enumerate() {
        let good = std::fs::read(fixture(name)).unwrap();
        for round in 0..150u64 {
            let mut rng = Rng::new(&[number as u64, round]);
            let mut bytes = good.clone();
            for _ in 0..1 + rng.below(4) {
                let at = rng.below(bytes.len());
                bytes[at] = rng.below(256) as u8;
            }
            if rng.below(8) == 0 {
                bytes.truncate(rng.below(bytes.len()));
            }
            let mut seen = 0;
            let _ = records(&dir.write(name, &bytes), |_, _| {
                seen += 1;
                if seen > 10_000 { Err("enough".into()) } else { Ok(()) }
            });
        }
    }
}

#[test]
fn a_csv_cell_is_absent_when_empty() {
    let path = dir().write("x.csv", "");
    assert!(read(&path).is_err(), "the directory is gone");
    let dir = dir();
    let rows = read(&dir.write("x.csv", "\u{feff}a,b\n1,\n,\"\"\n\"x\ny\",z\n")).unwrap();
    assert_eq!(rows, [(2, json!({"a": "1"})), (3, json!({})), (4, json!({"a": "x\ny", "b": "z"}))]);
}
