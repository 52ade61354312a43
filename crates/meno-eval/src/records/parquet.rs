//! Reads Parquet files row by row.
//!
//! Supports flat and nested columns (lists, structs, maps), data pages v1 and v2, the encodings plain, dictionary, RLE
//! and delta, and the codecs snappy, gzip and zstd. This covers the files that pyarrow, pandas, polars, DuckDB and the
//! Hugging Face hub write. The `parquet` crate would add twenty-five more crates.

mod column;
mod encoding;
mod thrift;

use super::sink::{MAX_RECORD, RecordSink, data_error};
use crate::error::Error;
use column::{Column, Leaf, MAX_COLUMNS};
use encoding::Kind;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use thrift::{Reader, Thrift};

/// Maximum size of the metadata at the end of a file, in bytes.
const MAX_FOOTER: u64 = 16 << 20;
/// Maximum nesting depth of columns.
const MAX_DEPTH: usize = 32;
/// Text and rows may total this many bytes, or 256 times the file size if that is larger.
const FREE_GROWTH: u64 = 1 << 30;
const MAX_RATIO: u64 = 256;

/// Calls `f` with every row and its number, starting at 1.
pub(super) fn rows(path: &Path, f: &mut RecordSink) -> Result<(), Error> {
    let mut file = meno_model::input::open(path).map_err(Error::io(path))?;
    let size = file.metadata().map_err(Error::io(path))?.len();
    let footer = footer(&mut file, size).map_err(Error::io(path))?;
    let broken = |message: String| data_error(path, 0)(format!("not a Parquet file that can be read: {message}"));
    let meta = Reader::new(&footer).read_struct().map_err(broken)?;
    let mut schema = Schema { elements: meta.list(2), at: 0, leaves: Vec::new() };
    let root = schema.node(0, 0, 0).map_err(broken)?;
    let leaves = schema.leaves;
    if leaves.len() > MAX_COLUMNS {
        return Err(broken(format!("{} columns; at most {MAX_COLUMNS} are supported", leaves.len())));
    }
    let mut left = size.saturating_mul(MAX_RATIO).max(FREE_GROWTH);
    let mut row = 0;
    for group in meta.list(4) {
        let chunks = group.list(1);
        if chunks.len() != leaves.len() {
            return Err(broken(format!("{} columns where the schema has {}", chunks.len(), leaves.len())));
        }
        let columns = leaves.iter().zip(chunks).map(|(leaf, chunk)| Column::new(leaf, &file, chunk, leaves.len()));
        let mut columns = columns.collect::<Result<Vec<_>, _>>().map_err(broken)?;
        for _ in 0..group.int(3).unwrap_or(0) {
            row += 1;
            let value = root.content(&mut columns).map_err(data_error(path, row))?;
            let bytes = 16 + weight(&value);
            if bytes as usize > MAX_RECORD {
                return Err(data_error(path, row)(format!("a record of more than {} MiB", MAX_RECORD >> 20)));
            }
            left = left.checked_sub(bytes).ok_or_else(|| {
                data_error(path, row)(format!("the file decompresses to more than {MAX_RATIO} times its size"))
            })?;
            f(row, value).map_err(data_error(path, row))?;
        }
    }
    Ok(())
}

fn footer(file: &mut File, size: u64) -> io::Result<Vec<u8>> {
    let bad = |message: &str| Err(io::Error::new(io::ErrorKind::InvalidData, message.to_owned()));
    if size < 12 {
        return bad("not a Parquet file: too short");
    }
    file.seek(SeekFrom::Start(size - 8))?;
    let mut tail = [0; 8];
    file.read_exact(&mut tail)?;
    let len = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    match &tail[4..] {
        b"PAR1" => {}
        b"PARE" => return bad("the Parquet file is encrypted"),
        _ => return bad("not a Parquet file: it does not end with PAR1 (cut short?)"),
    }
    if len > (size - 12).min(MAX_FOOTER) {
        return bad("not a Parquet file: its metadata is larger than itself, or than 16 MiB");
    }
    file.seek(SeekFrom::Start(size - 8 - len))?;
    let mut bytes = vec![0; len as usize];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Approximate size of a value in bytes.
fn weight(value: &Value) -> u64 {
    match value {
        Value::String(s) => 8 + s.len() as u64,
        Value::Array(items) => 8 + items.iter().map(weight).sum::<u64>(),
        Value::Object(map) => map.iter().map(|(k, v)| 8 + k.len() as u64 + weight(v)).sum(),
        _ => 8,
    }
}

/// A node of the schema. `def` is the definition level from which the node is present; `rep` is its repetition level.
struct Node {
    name: String,
    repetition: Repetition,
    def: u32,
    rep: u32,
    content: Content,
    /// Index of the first leaf at or below this node, and one past the last.
    leaves: (usize, usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Repetition {
    Required,
    Optional,
    Repeated,
}

enum Content {
    Leaf,
    Struct(Vec<Node>),
    /// A list: its repeated child; true if that child is a wrapper around the elements.
    List(Box<Node>, bool),
    /// A map: its repeated key-value pairs.
    Map(Box<Node>),
}

struct Schema<'a> {
    elements: &'a [Thrift],
    at: usize,
    leaves: Vec<Leaf>,
}

impl Schema<'_> {
    /// Reads the next element of the schema, which lists the tree in depth-first order.
    fn node(&mut self, def: u32, rep: u32, depth: usize) -> Result<Node, String> {
        let element = self.elements.get(self.at).ok_or("its schema is cut short")?;
        self.at += 1;
        if depth > MAX_DEPTH {
            return Err("its columns are nested too deeply".into());
        }
        let name = element.text(4).ok_or("a column has no name")?;
        let repetition = match element.int(3) {
            _ if depth == 0 => Repetition::Required,
            Some(1) => Repetition::Optional,
            Some(2) => Repetition::Repeated,
            _ => Repetition::Required,
        };
        let def = def + u32::from(repetition != Repetition::Required);
        let rep = rep + u32::from(repetition == Repetition::Repeated);
        let first = self.leaves.len();
        let children = element.int(5).unwrap_or(0);
        let content = if children == 0 && depth > 0 {
            let kind = kind(element)?;
            self.leaves.push(Leaf { name: name.clone(), kind, max_def: def, max_rep: rep });
            Content::Leaf
        } else {
            if children < 0 || children > self.elements.len() as i64 {
                return Err("a column has an invalid number of children".into());
            }
            let nodes = (0..children).map(|_| self.node(def, rep, depth + 1)).collect::<Result<Vec<_>, _>>()?;
            group(element, &name, nodes)
        };
        Ok(Node { name, repetition, def, rep, content, leaves: (first, self.leaves.len()) })
    }
}

/// True if a node has the annotation `converted`, or its successor, `logical`.
fn annotated(element: &Thrift, converted: i64, logical: i16) -> bool {
    element.int(6) == Some(converted) || element.field(10).is_some_and(|l| l.field(logical).is_some())
}

fn group(element: &Thrift, name: &str, mut nodes: Vec<Node>) -> Content {
    let repeated = nodes.len() == 1 && nodes[0].repetition == Repetition::Repeated;
    if repeated && annotated(element, 3, 3) {
        let child = nodes.remove(0);
        // Old writers omit the middle level: the repeated child is then the element itself.
        let wraps = matches!(&child.content, Content::Struct(c) if c.len() == 1)
            && child.name != "array"
            && child.name != format!("{name}_tuple");
        return Content::List(Box::new(child), wraps);
    }
    if repeated && (annotated(element, 1, 2) || element.int(6) == Some(2)) {
        return Content::Map(Box::new(nodes.remove(0)));
    }
    Content::Struct(nodes)
}

fn kind(element: &Thrift) -> Result<Kind, String> {
    let unsigned = matches!(element.int(6), Some(11..=14))
        || element.field(10).and_then(|l| l.field(10)).is_some_and(|i| matches!(i.field(2), Some(Thrift::Bool(false))));
    let text = annotated(element, 0, 1) || annotated(element, 4, 4) || annotated(element, 19, 12);
    Ok(match element.int(1) {
        Some(0) => Kind::Boolean,
        Some(1) => Kind::Int32 { signed: !unsigned },
        Some(2) => Kind::Int64 { signed: !unsigned },
        Some(3) => Kind::Opaque(12),
        Some(4) => Kind::Float,
        Some(5) => Kind::Double,
        Some(6) => Kind::Bytes { text },
        Some(7) => match element.int(2) {
            Some(len) if (0..1 << 20).contains(&len) => Kind::Opaque(len as usize),
            _ => return Err("a fixed-length column has no length".into()),
        },
        other => return Err(format!("a column has type {other:?}")),
    })
}

impl Node {
    /// The node's value in the current row (Dremel's record assembly): `null` for an absent optional node, a list for a
    /// repeated node.
    fn value(&self, columns: &mut [Column]) -> Result<Value, String> {
        if self.repetition == Repetition::Required {
            return self.content(columns);
        }
        let (first, last) = self.leaves;
        if first == last {
            return Ok(Value::Null); // a struct without fields
        }
        let def = columns[first].peek()?.map_or(0, |e| e.def);
        if def < self.def {
            // Absent node or empty list: every column below has one entry for it.
            columns[first..last].iter_mut().try_for_each(|c| c.take().map(drop))?;
            return Ok(if self.repetition == Repetition::Repeated { Value::Array(vec![]) } else { Value::Null });
        }
        if self.repetition == Repetition::Optional {
            return self.content(columns);
        }
        let mut items = Vec::new();
        let mut bytes = 0;
        loop {
            let item = self.content(columns)?;
            bytes += weight(&item);
            if bytes as usize > MAX_RECORD {
                return Err(format!("a record of more than {} MiB", MAX_RECORD >> 20));
            }
            items.push(item);
            if columns[first].peek()?.is_none_or(|e| e.rep != self.rep) {
                return Ok(items.into());
            }
        }
    }

    /// The value of a node that is present.
    fn content(&self, columns: &mut [Column]) -> Result<Value, String> {
        match &self.content {
            Content::Leaf => Ok(columns[self.leaves.0].take()?.value),
            Content::Struct(nodes) => {
                let pairs = nodes.iter().map(|n| Ok((n.name.clone(), n.value(columns)?)));
                Ok(Value::Object(pairs.collect::<Result<_, String>>()?))
            }
            Content::List(child, wraps) => match child.value(columns)? {
                Value::Array(items) if *wraps => Ok(items.into_iter().map(only_value).collect()),
                list => Ok(list),
            },
            Content::Map(child) => {
                let Value::Array(pairs) = child.value(columns)? else { return Ok(Value::Null) };
                let mut map = Map::new();
                for pair in pairs {
                    let Value::Object(pair) = pair else { continue };
                    let mut values = pair.into_iter().map(|(_, value)| value);
                    let key = match values.next() {
                        Some(Value::String(key)) => key,
                        other => other.unwrap_or_default().to_string(),
                    };
                    map.insert(key, values.next().unwrap_or_default());
                }
                Ok(map.into())
            }
        }
    }
}

/// The value of an object that has exactly one key.
fn only_value(value: Value) -> Value {
    match value {
        Value::Object(map) => map.into_iter().next().map(|(_, value)| value).unwrap_or_default(),
        other => other,
    }
}
