//! GGUF: the one-file checkpoints of llama.cpp, read for inference and as a starting point for training.
//!
//! Layout, little-endian (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3):
//! ```text
//! "GGUF"  version: u32  tensor_count: u64  metadata_count: u64
//! metadata_count x { key: string  type: u32  value }
//! tensor_count   x { name: string  n_dims: u32  dims: u64 x n_dims (fastest first)  type: u32  offset: u64 }
//! padding to general.alignment (32), then the tensors' bytes at their offsets
//! ```
//! The file is not trusted. Every count, length and offset is checked against the bytes that are there before it is
//! used, tensors may not overlap, and nothing is allocated by a number that the file merely claims: metadata arrays
//! stay in the map and are decoded while they are iterated.
//!
//! Names and shapes are Hugging Face's to the outside ([`Gguf::read_f32`] takes `model.layers.0.self_attn.q_proj.weight`
//! and gives it row-major as `transformers` would hold it); `names.rs` maps them, and undoes what the converter did.
//!
//! A model may be split over several files (`split.rs`): it is opened by the first.

mod config;
mod export;
pub(crate) mod mixture;
mod names;
mod reader;
mod split;
pub(crate) mod writer;

pub(crate) use export::{Export, Part, Tensor as ExportedTensor, permute, split_kv_b};
pub use meno_tensor::quant::GgmlType;
pub use mixture::FileType;
pub use names::Blocks;
pub use names::hf_name;
pub use reader::{Array, Elements, TensorInfo, Value};
pub use writer::{Metadata, Planned};

use meno_tensor::finite::first_bad_block;
use reader::Header;
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// What can be wrong with a GGUF file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened or mapped.
    #[error("{}: {}", path.display(), crate::plain::plain(&source.to_string()))]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The bytes are not a GGUF file that this reader knows, or lie about themselves.
    #[error("{}: not a usable GGUF file: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, where, and what was expected.
        what: String,
    },
    /// A GGUF file that is no language model: an adapter, a projector, a vocabulary.
    #[error("{}: {what}", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// What it is, and what to name instead.
        what: &'static str,
    },
    /// A model of an architecture that is not supported.
    #[error(
        "{}: is a model of the architecture `{architecture}` (general.architecture), which is not supported; supported \
         are {}",
        path.display(),
        supported.join(", ")
    )]
    Architecture {
        /// The file.
        path: PathBuf,
        /// Its architecture, as llama.cpp calls it.
        architecture: String,
        /// The supported ones.
        supported: &'static [&'static str],
    },
    /// A metadata key is missing or has another type or value than the architecture needs.
    #[error("{}: metadata key `{key}` {what}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is wrong with it.
        what: String,
    },
    /// A tensor that was asked for is missing or has another shape.
    #[error("{}: tensor `{name}` {what}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor, as Hugging Face names it.
        name: String,
        /// What is wrong with it.
        what: String,
    },
}

/// The bytes of a file: mapped, or given.
enum Bytes {
    Map(memmap2::Mmap),
    Given(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Map(map) => map,
            Bytes::Given(bytes) => bytes,
        }
    }
}

fn map(path: &Path) -> Result<Bytes, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let file = crate::input::open(path).map_err(io)?;
    // SAFETY: the map is only read, as bytes; a file that is changed by another process while it is open
    // gives other bytes (or stops the process), as it does with every reader of mapped weights.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
    Ok(Bytes::Map(map))
}

/// An opened GGUF model whose header has been checked.
pub struct Gguf {
    path: PathBuf,
    /// The file's bytes, and those of the files that it is split into.
    parts: Vec<Bytes>,
    /// Metadata of the first file, tensors of all.
    header: Header,
}

impl Gguf {
    /// Maps the file, and the others if it is the first of several, and reads their headers.
    pub fn open(path: &Path) -> Result<Gguf, Error> {
        let mut file = Gguf::read(path, map(path)?)?;
        let others = split::others(&file)?;
        split::check_present(&file, &others)?;
        for (i, part) in others.iter().enumerate() {
            let other = Gguf::read(part, map(part)?)?;
            split::check_part(&file, &other, i + 1)?;
            file.header.append(other.header, i + 1).map_err(|what| Error::Malformed { path: part.clone(), what })?;
            file.parts.extend(other.parts);
        }
        split::check_count(&file)?;
        Ok(file)
    }

    /// Reads a file that is already in memory; `name` stands for its path in errors. It cannot be one of several.
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Gguf, Error> {
        let file = Gguf::read(Path::new(name), Bytes::Given(bytes))?;
        match split::count(&file)? {
            1 => Ok(file),
            n => Err(file.key(split::COUNT, format!("is {n}: the other files are not in memory"))),
        }
    }

    /// Whether the file starts as a GGUF file does.
    pub fn is_gguf(path: &Path) -> bool {
        let mut magic = [0; 4];
        let read = crate::input::open(path).and_then(|mut f| std::io::Read::read_exact(&mut f, &mut magic));
        read.is_ok() && &magic == b"GGUF"
    }

    fn read(path: &Path, bytes: Bytes) -> Result<Gguf, Error> {
        let header = Header::parse(&bytes).map_err(|what| Error::Malformed { path: path.to_owned(), what })?;
        Ok(Gguf { path: path.to_owned(), parts: vec![bytes], header })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many files it is in.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// GGUF version: 2 or 3.
    pub fn version(&self) -> u32 {
        self.header.version
    }

    /// The network's family as llama.cpp calls it: `qwen2`, `qwen3moe`, `deepseek2`.
    pub fn architecture(&self) -> Result<&str, Error> {
        self.str("general.architecture")
    }

    /// The tensors in the order of the file, under llama.cpp's names.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.header.tensors
    }

    /// The metadata keys in the order of the file.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.header.metadata.iter().map(|(key, _)| key.as_str())
    }

    /// A metadata value.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.header.value(key)
    }

    /// Type and value of a key as they are stored.
    fn stored_value(&self, key: &str) -> Option<&[u8]> {
        self.header.span(key).map(|span| &self.parts[0][span])
    }

    /// A metadata string that must be there.
    pub fn str(&self, key: &str) -> Result<&str, Error> {
        self.opt_str(key)?.ok_or_else(|| self.missing(key))
    }

    /// A metadata string, if the key is there.
    pub fn opt_str(&self, key: &str) -> Result<Option<&str>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(s)) => Ok(Some(s)),
            Some(other) => Err(self.wrong(key, other, "a string")),
        }
    }

    /// A metadata whole number that is not negative, if the key is there.
    pub fn opt_u64(&self, key: &str) -> Result<Option<u64>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| self.wrong(key, value, "a whole number, 0 or more")),
        }
    }

    /// A metadata whole number that must be there.
    pub fn u64(&self, key: &str) -> Result<u64, Error> {
        self.opt_u64(key)?.ok_or_else(|| self.missing(key))
    }

    /// A metadata number, if the key is there: finite, and with the fewest digits that give the same f32
    /// (1e-6, not 9.999999974752427e-7).
    pub fn opt_f64(&self, key: &str) -> Result<Option<f64>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => {
                let number = value.as_f64().filter(|x| x.is_finite());
                number.map(Some).ok_or_else(|| self.wrong(key, value, "a finite number"))
            }
        }
    }

    /// A metadata flag, if the key is there.
    pub fn opt_bool(&self, key: &str) -> Result<Option<bool>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(b)) => Ok(Some(*b)),
            Some(other) => Err(self.wrong(key, other, "true or false")),
        }
    }

    /// The strings of a metadata array, decoded one at a time; `None` if the key is not there.
    pub fn strings(&self, key: &str) -> Result<Option<impl Iterator<Item = Result<&str, Error>>>, Error> {
        let Some(array) = self.array(key)? else { return Ok(None) };
        let strings =
            array.strings(&self.parts[0]).ok_or_else(|| self.key(key, "must be an array of strings".into()))?;
        Ok(Some(strings.map(move |s| s.map_err(|what| self.key(key, what)))))
    }

    /// The whole numbers of a metadata array, decoded one at a time; `None` if the key is not there.
    pub fn integers(&self, key: &str) -> Result<Option<impl Iterator<Item = i64>>, Error> {
        let Some(array) = self.array(key)? else { return Ok(None) };
        let numbers = array.integers(&self.parts[0]);
        numbers.map(Some).ok_or_else(|| self.key(key, "must be an array of whole numbers".into()))
    }

    /// The 32-bit floats of a metadata array, decoded one at a time; `None` if the key is not there.
    pub fn floats(&self, key: &str) -> Result<Option<impl Iterator<Item = f32>>, Error> {
        let Some(array) = self.array(key)? else { return Ok(None) };
        let numbers = array.floats(&self.parts[0]);
        numbers.map(Some).ok_or_else(|| self.key(key, "must be an array of 32-bit floats".into()))
    }

    fn array(&self, key: &str) -> Result<Option<&Array>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(array)) => Ok(Some(array)),
            Some(other) => Err(self.wrong(key, other, "an array")),
        }
    }

    /// The config in Hugging Face's keys, as the model's `config.json` would hold it.
    pub fn config(&self) -> Result<serde_json::Value, Error> {
        config::from_metadata(self)
    }

    /// The shape of a tensor by its Hugging Face name, row-major ([out, in] of a linear layer).
    pub fn shape(&self, hf_name: &str) -> Result<Vec<usize>, Error> {
        names::shape(self, hf_name)
    }

    /// Whether the tensor is there, by its Hugging Face name.
    pub fn contains(&self, hf_name: &str) -> bool {
        names::source(self, hf_name).is_ok()
    }

    /// Dequantises a tensor, by its Hugging Face name, into `out`, which must have exactly its elements. Parallel.
    pub fn read_f32(&self, hf_name: &str, out: &mut [f32]) -> Result<(), Error> {
        let shape = self.shape(hf_name)?;
        if shape.iter().product::<usize>() != out.len() {
            return Err(self.tensor(hf_name, format!("has shape {shape:?}, expected {} elements", out.len())));
        }
        names::source(self, hf_name)?.read(self, out);
        Ok(())
    }

    /// A matrix as it is stored, for computing on its codes, by its Hugging Face name; `None` if it is not stored in
    /// blocks of its rows.
    pub fn blocks(&self, hf_name: &str) -> Result<Option<Blocks<'_>>, Error> {
        Ok(names::source(self, hf_name)?.blocks(self))
    }

    /// Refuses a tensor, by its Hugging Face name, with a value that is not finite. Looks at the stored scales only.
    pub fn check_finite(&self, hf_name: &str) -> Result<(), Error> {
        for (info, data) in names::source(self, hf_name)?.stored(self) {
            if let Some(index) = first_bad_block(info.dtype, data) {
                let what = format!(
                    "is not finite: NaN or infinity at element {index} of `{}` ({}); the file is damaged, or was made \
                     from a broken checkpoint: fetch or make it again",
                    info.name,
                    info.dtype.name()
                );
                return Err(self.tensor(hf_name, what));
            }
        }
        Ok(())
    }

    /// Bytes of the file, and of those that it is split into.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }

    /// A tensor by llama.cpp's name.
    pub fn info(&self, ggml_name: &str) -> Option<&TensorInfo> {
        self.header.tensor(ggml_name)
    }

    /// The stored bytes of a tensor.
    fn data(&self, info: &TensorInfo) -> &[u8] {
        &self.parts[info.part][info.start..info.start + info.bytes]
    }

    /// Part `slice` of `of` equal ones of a tensor's bytes.
    pub(crate) fn slice(&self, tensor: usize, slice: usize, of: usize) -> &[u8] {
        let data = self.data(&self.header.tensors[tensor]);
        &data[data.len() / of * slice..][..data.len() / of]
    }

    /// The index of the first value that is not finite, or the first of its block, in such a part.
    pub(crate) fn first_bad_block(&self, tensor: usize, slice: usize, of: usize) -> Option<usize> {
        first_bad_block(self.header.tensors[tensor].dtype, self.slice(tensor, slice, of))
    }

    /// The same, dequantised.
    pub(crate) fn dequantised_slice(&self, tensor: usize, slice: usize, of: usize) -> Vec<f32> {
        let info = &self.header.tensors[tensor];
        let mut values = vec![0.0; info.elements / of];
        meno_tensor::quant::dequant::dequantise(info.dtype, self.slice(tensor, slice, of), &mut values);
        values
    }

    fn missing(&self, key: &str) -> Error {
        self.key(key, "is missing".into())
    }

    fn wrong(&self, key: &str, value: &Value, expected: &str) -> Error {
        self.key(key, format!("is {value}, expected {expected}"))
    }

    fn key(&self, key: &str, what: String) -> Error {
        Error::Key { path: self.path.clone(), key: key.to_owned(), what }
    }

    fn tensor(&self, name: &str, what: String) -> Error {
        Error::Tensor { path: self.path.clone(), name: name.to_owned(), what }
    }
}

impl std::fmt::Debug for Gguf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gguf({}, {} tensors)", self.path.display(), self.header.tensors.len())
    }
}
