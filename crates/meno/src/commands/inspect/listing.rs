//! The tensors and the config of a checkpoint in any format.

use anyhow::{Context, Result, bail};
use meno_model::gguf::{Gguf, hf_name};
use meno_model::{Config, Model, hf, input};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A safetensors header is JSON of about 100 bytes per tensor; the format's reference reader has the same limit.
const MAX_HEADER: u64 = 100_000_000;

/// One tensor: stored in a file, or expected if there is only a config.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) dtype: String,
    pub(super) bytes: u64,
}

impl Tensor {
    pub(super) fn elements(&self) -> u64 {
        // The product fits: stored tensors are checked while they are read, computed ones by `Config`.
        self.shape.iter().map(|&d| d as u64).product()
    }
}

/// The contents of the files.
pub(super) struct Listing {
    pub(super) path: PathBuf,
    /// `GGUF version 3`, `safetensors, 2 files`, `config.json (tensors computed)`.
    pub(super) format: String,
    pub(super) config: Option<Config>,
    /// True if the tensors are computed from the config, not read from a file.
    pub(super) computed: bool,
    pub(super) tensors: Vec<Tensor>,
}

impl Listing {
    pub(super) fn read(path: &Path) -> Result<Listing> {
        let kind = std::fs::metadata(path).with_context(|| format!("{}", path.display()))?;
        if kind.is_dir() {
            return Listing::directory(path);
        }
        if Gguf::is_gguf(path) {
            return Listing::gguf(path);
        }
        match path.extension().and_then(|e| e.to_str()) {
            Some("json") => {
                let config = Config::load(path)?;
                let tensors = computed(&config);
                let format = "config.json; tensors computed, in f32".into();
                Ok(Listing { path: path.to_owned(), format, config: Some(config), computed: true, tensors })
            }
            Some("safetensors") => {
                let beside = path.with_file_name("config.json");
                let config = if beside.exists() { Some(Config::load(&beside)?) } else { None };
                let tensors = safetensors(path)?;
                let format = "safetensors".into();
                Ok(Listing { path: path.to_owned(), format, config, computed: false, tensors })
            }
            _ => bail!("{} is neither a directory, nor a .safetensors, .gguf or .json file", path.display()),
        }
    }

    fn gguf(path: &Path) -> Result<Listing> {
        let file = Gguf::open(path)?;
        let tensors = file.tensors().iter().map(|t| Tensor {
            name: hf_name(&t.name).unwrap_or_else(|| t.name.clone()),
            shape: t.shape.clone(),
            dtype: t.dtype.name().into(),
            bytes: t.bytes as u64,
        });
        Ok(Listing {
            path: path.to_owned(),
            format: match file.parts() {
                1 => format!("GGUF version {}", file.version()),
                n => format!("GGUF version {}, {n} files", file.version()),
            },
            config: Some(Config::from_value(&path.display().to_string(), file.config()?)?),
            computed: false,
            tensors: tensors.collect(),
        })
    }

    fn directory(dir: &Path) -> Result<Listing> {
        let config = dir.join("config.json");
        let config = if config.exists() { Some(Config::load(&config)?) } else { None };
        let files = weight_files(dir)?;
        let mut tensors = Vec::new();
        for file in &files {
            tensors.extend(safetensors(file)?);
        }
        let format = match (files.len(), &config) {
            (0, None) => bail!("{} holds neither config.json nor *.safetensors", dir.display()),
            (0, Some(config)) => {
                tensors = computed(config);
                "config.json without weights; tensors computed, in f32".into()
            }
            (1, _) => "safetensors".into(),
            (n, _) => format!("safetensors, {n} files"),
        };
        Ok(Listing { path: dir.to_owned(), format, config, computed: files.is_empty(), tensors })
    }
}

/// The tensors that a config requires, in f32.
fn computed(config: &Config) -> Vec<Tensor> {
    let tensor = |(name, shape): (String, Vec<usize>)| {
        let mut tensor = Tensor { name, shape, dtype: "F32".into(), bytes: 0 };
        tensor.bytes = 4 * tensor.elements();
        tensor
    };
    Model::tensor_shapes(config).into_iter().map(tensor).collect()
}

/// The files named by the index, otherwise `model.safetensors`, otherwise every .safetensors file.
fn weight_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let index = dir.join("model.safetensors.index.json");
    if index.exists() {
        return Ok(hf::shards(&index)?.into_iter().map(|name| dir.join(name)).collect());
    }
    let single = dir.join("model.safetensors");
    if single.exists() {
        return Ok(vec![single]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("{}", dir.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "safetensors") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads the header of a safetensors file and checks every range against the file's size.
fn safetensors(path: &Path) -> Result<Vec<Tensor>> {
    read_safetensors(path).with_context(|| format!("{}", path.display()))
}

fn read_safetensors(path: &Path) -> Result<Vec<Tensor>> {
    let mut file = input::open(path)?;
    let size = file.metadata()?.len();
    let mut length = [0; 8];
    file.read_exact(&mut length).context("not a safetensors file: it is shorter than 8 bytes")?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER || length > size - 8 {
        bail!("not a safetensors file, or cut short: it claims a header of {length} bytes and has {size} in all");
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header)?;
    let header: Header = serde_json::from_slice(&header).context("the header is not JSON that describes tensors")?;
    let data = size - 8 - length;
    let mut tensors = BTreeMap::new();
    for (name, entry) in header.0 {
        let (tensor, start) = checked(&name, entry, data)?;
        tensors.insert((start, name), tensor);
    }
    Ok(tensors.into_values().collect())
}

/// The entries of a header, deserialized directly: as JSON values they would take twenty times the header's size.
struct Header(Vec<(String, Entry)>);

#[derive(Deserialize)]
struct Entry {
    dtype: Option<String>,
    shape: Option<Vec<u64>>,
    data_offsets: Option<[u64; 2]>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("an object from tensors to their types, shapes and offsets")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Header, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    match name.as_str() {
                        "__metadata__" => drop(map.next_value::<IgnoredAny>()?),
                        _ => entries.push((name, map.next_value()?)),
                    }
                }
                Ok(Header(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Checks one tensor's entry; returns it with the start of its bytes. `data` is the number of bytes after the header.
fn checked(name: &str, entry: Entry, data: u64) -> Result<(Tensor, u64)> {
    let wrong = |what: &str| anyhow::anyhow!("tensor `{name}`: {what}");
    let dtype = entry.dtype.ok_or_else(|| wrong("no `dtype`"))?;
    let shape = entry.shape.ok_or_else(|| wrong("no `shape`"))?;
    let [start, end] = entry.data_offsets.ok_or_else(|| wrong("no `data_offsets`"))?;
    let elements = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d)).ok_or_else(|| wrong("too many elements"))?;
    if start > end || end > data {
        bail!("tensor `{name}` lies at bytes {start} to {end} of {data}: cut short, or its offsets are wrong");
    }
    let bytes = end - start;
    // Sub-byte types exist, but a tensor cannot have more elements than 4 bits each allow.
    if elements > bytes.saturating_mul(2) {
        return Err(wrong("more elements than bytes"));
    }
    let shape = shape.iter().map(|&d| d as usize).collect();
    Ok((Tensor { name: name.to_owned(), shape, dtype, bytes }, start))
}
