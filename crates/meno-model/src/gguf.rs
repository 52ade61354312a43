//! GGUF: the one-file checkpoints of llama.cpp, read for inference and as a starting point for training.
//!
//! Layout, little-endian (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3):
//! ```text
//! "GGUF"  version: u32  tensor_count: u64  metadata_count: u64
//! metadata_count x { key: string  type: u32  value }
//! tensor_count   x { name: string  n_dims: u32  dims: u64 x n_dims (fastest first)  type: u32  offset: u64 }
//! padding to general.alignment (32), then the tensors' bytes at their offsets
//! ```
//! The file is not trusted. Every count, length and offset is checked against the available bytes before it is used,
//! tensors may not overlap, and no allocation depends on a number that the file merely claims: metadata arrays stay in
//! the map and are decoded while they are iterated.
//!
//! The public interface uses Hugging Face's names and shapes: [`Gguf::read_f32`] takes
//! `model.layers.0.self_attn.q_proj.weight` and returns it row-major, as in `transformers`. `names.rs` maps the names
//! and undoes the converter's changes.
//!
//! A model may be split over several files (`split.rs`); it is opened by the first.

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

/// An error in a GGUF file.
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
    /// The bytes are not a GGUF file that this reader knows, or contradict each other.
    #[error("{}: not a usable GGUF file: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, where, and what was expected.
        what: String,
    },
    /// A GGUF file that is not a language model: an adapter, a projector, a vocabulary.
    #[error("{}: {what}", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// What the file is, and which file to use instead.
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
        /// Its architecture, in llama.cpp's naming.
        architecture: String,
        /// The supported architectures.
        supported: &'static [&'static str],
    },
    /// A metadata key is missing, or has a type or value that does not fit the architecture.
    #[error("{}: metadata key `{key}` {what}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is wrong with it.
        what: String,
    },
    /// A requested tensor is missing or has another shape.
    #[error("{}: tensor `{name}` {what}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor's Hugging Face name.
        name: String,
        /// What is wrong with it.
        what: String,
    },
}

/// The bytes of a file: mapped, or provided by the caller.
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
    // SAFETY: the map is only read, as bytes. If another process changes the file while it is open, the bytes change
    // (or the process stops), as in every reader of mapped weights.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
    Ok(Bytes::Map(map))
}

/// An opened GGUF model whose header has been checked.
pub struct Gguf {
    path: PathBuf,
    /// The bytes of the file, and of the other files if the model is split.
    parts: Vec<Bytes>,
    /// Metadata of the first file, tensors of all files.
    header: Header,
}

impl Gguf {
    /// Maps the file, and the other files if it is the first of a split model, and reads their headers.
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

    /// Reads a file that is already in memory; errors use `name` as its path. The model cannot be split.
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Gguf, Error> {
        let file = Gguf::read(Path::new(name), Bytes::Given(bytes))?;
        match split::count(&file)? {
            1 => Ok(file),
            n => Err(file.key(split::COUNT, format!("is {n}: the other files are not in memory"))),
        }
    }

    /// Returns true if the file starts with the GGUF magic.
    pub fn is_gguf(path: &Path) -> bool {
        let mut magic = [0; 4];
        let read = crate::input::open(path).and_then(|mut f| std::io::Read::read_exact(&mut f, &mut magic));
        read.is_ok() && &magic == b"GGUF"
    }

    fn read(path: &Path, bytes: Bytes) -> Result<Gguf, Error> {
        let header = Header::parse(&bytes).map_err(|what| Error::Malformed { path: path.to_owned(), what })?;
        Ok(Gguf { path: path.to_owned(), parts: vec![bytes], header })
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the number of files.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// Returns the GGUF version: 2 or 3.
    pub fn version(&self) -> u32 {
        self.header.version
    }

    /// Returns the network's family in llama.cpp's naming: `qwen2`, `qwen3moe`, `deepseek2`.
    pub fn architecture(&self) -> Result<&str, Error> {
        self.str("general.architecture")
    }

    /// Returns the tensors in the order of the file, under llama.cpp's names.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.header.tensors
    }

    /// Returns the metadata keys in the order of the file.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.header.metadata.iter().map(|(key, _)| key.as_str())
    }

    /// Returns a metadata value.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.header.value(key)
    }

    /// Returns type and value of a key in their stored form.
    fn stored_value(&self, key: &str) -> Option<&[u8]> {
        self.header.span(key).map(|span| &self.parts[0][span])
    }

    /// Returns a required metadata string.
    pub fn str(&self, key: &str) -> Result<&str, Error> {
        self.opt_str(key)?.ok_or_else(|| self.missing(key))
    }

    /// Returns a metadata string, if the key is present.
    pub fn opt_str(&self, key: &str) -> Result<Option<&str>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(s)) => Ok(Some(s)),
            Some(other) => Err(self.wrong(key, other, "a string")),
        }
    }

    /// Returns a non-negative metadata integer, if the key is present.
    pub fn opt_u64(&self, key: &str) -> Result<Option<u64>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| self.wrong(key, value, "a whole number, 0 or more")),
        }
    }

    /// Returns a required non-negative metadata integer.
    pub fn u64(&self, key: &str) -> Result<u64, Error> {
        self.opt_u64(key)?.ok_or_else(|| self.missing(key))
    }

    /// Returns a finite metadata number, if the key is present, as the shortest decimal that gives the same f32 (1e-6,
    /// not 9.999999974752427e-7).
    pub fn opt_f64(&self, key: &str) -> Result<Option<f64>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => {
                let number = value.as_f64().filter(|x| x.is_finite());
                number.map(Some).ok_or_else(|| self.wrong(key, value, "a finite number"))
            }
        }
    }

    /// Returns a metadata boolean, if the key is present.
    pub fn opt_bool(&self, key: &str) -> Result<Option<bool>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(b)) => Ok(Some(*b)),
            Some(other) => Err(self.wrong(key, other, "true or false")),
        }
    }

    /// Returns the strings of a metadata array, decoded one at a time; `None` if the key is absent.
    pub fn strings(&self, key: &str) -> Result<Option<impl Iterator<Item = Result<&str, Error>>>, Error> {
        let Some(array) = self.array(key)? else { return Ok(None) };
        let strings =
            array.strings(&self.parts[0]).ok_or_else(|| self.key(key, "must be an array of strings".into()))?;
        Ok(Some(strings.map(move |s| s.map_err(|what| self.key(key, what)))))
    }

    /// Returns the integers of a metadata array, decoded one at a time; `None` if the key is absent.
    pub fn integers(&self, key: &str) -> Result<Option<impl Iterator<Item = i64>>, Error> {
        let Some(array) = self.array(key)? else { return Ok(None) };
        let numbers = array.integers(&self.parts[0]);
        numbers.map(Some).ok_or_else(|| self.key(key, "must be an array of whole numbers".into()))
    }

    /// Returns the 32-bit floats of a metadata array, decoded one at a time; `None` if the key is absent.
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

    /// Returns the config in Hugging Face's keys, as in the model's `config.json`.
    pub fn config(&self) -> Result<serde_json::Value, Error> {
        config::from_metadata(self)
    }

    /// Returns the shape of a tensor by its Hugging Face name, row-major ([out, in] for a linear layer).
    pub fn shape(&self, hf_name: &str) -> Result<Vec<usize>, Error> {
        names::shape(self, hf_name)
    }

    /// Returns true if the tensor with this Hugging Face name is present.
    pub fn contains(&self, hf_name: &str) -> bool {
        names::source(self, hf_name).is_ok()
    }

    /// Dequantizes a tensor, by its Hugging Face name, into `out`, which must have exactly its number of elements. Runs
    /// in parallel.
    pub fn read_f32(&self, hf_name: &str, out: &mut [f32]) -> Result<(), Error> {
        let shape = self.shape(hf_name)?;
        if shape.iter().product::<usize>() != out.len() {
            return Err(self.tensor(hf_name, format!("has shape {shape:?}, expected {} elements", out.len())));
        }
        names::source(self, hf_name)?.read(self, out);
        Ok(())
    }

    /// Returns a matrix in its stored form, by its Hugging Face name, to compute on its codes; `None` if it is not
    /// stored in blocks along its rows.
    pub fn blocks(&self, hf_name: &str) -> Result<Option<Blocks<'_>>, Error> {
        Ok(names::source(self, hf_name)?.blocks(self))
    }

    /// Refuses a tensor, by its Hugging Face name, with a value that is not finite. Reads only the stored scales.
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

    /// Returns the size of the file in bytes, including the other files if the model is split.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }

    /// Returns a tensor by llama.cpp's name.
    pub fn info(&self, ggml_name: &str) -> Option<&TensorInfo> {
        self.header.tensor(ggml_name)
    }

    /// Returns the stored bytes of a tensor.
    fn data(&self, info: &TensorInfo) -> &[u8] {
        &self.parts[info.part][info.start..info.start + info.bytes]
    }

    /// Returns slice number `slice` of `of` equal slices of a tensor's bytes.
    pub(crate) fn slice(&self, tensor: usize, slice: usize, of: usize) -> &[u8] {
        let data = self.data(&self.header.tensors[tensor]);
        &data[data.len() / of * slice..][..data.len() / of]
    }

    /// Returns the index of the first value that is not finite, or of the first value of its block, in such a slice.
    pub(crate) fn first_bad_block(&self, tensor: usize, slice: usize, of: usize) -> Option<usize> {
        first_bad_block(self.header.tensors[tensor].dtype, self.slice(tensor, slice, of))
    }

    /// Returns such a slice, dequantized.
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
