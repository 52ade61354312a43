//! A file of `[data]`: its path, or a table of path and weight.

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::path::PathBuf;

/// A data file and its weight: `"a.jsonl"` or `{ path = "a.jsonl", weight = 2.0 }`.
#[derive(Clone, Debug, PartialEq)]
pub struct DataFile {
    /// The path of the file.
    pub path: PathBuf,
    /// How often each example occurs in one epoch: 1 for once, 0.5 for every other example.
    pub weight: f64,
}

impl<P: Into<PathBuf>> From<P> for DataFile {
    fn from(path: P) -> Self {
        DataFile { path: path.into(), weight: 1.0 }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    path: PathBuf,
    #[serde(default = "once")]
    weight: f64,
}

fn once() -> f64 {
    1.0
}

impl Serialize for DataFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.weight == 1.0 {
            return self.path.serialize(serializer);
        }
        Table { path: self.path.clone(), weight: self.weight }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for DataFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PathOrTable;
        impl<'de> Visitor<'de> for PathOrTable {
            type Value = DataFile;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a path, or a table with `path` and `weight`")
            }
            fn visit_str<E>(self, path: &str) -> Result<DataFile, E> {
                Ok(path.into())
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<DataFile, A::Error> {
                let Table { path, weight } = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(DataFile { path, weight })
            }
        }
        deserializer.deserialize_any(PathOrTable)
    }
}
