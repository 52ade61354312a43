//! An opened GGUF file: its metadata by key and type, and the stored bytes of its tensors.

use super::error::Error;
use super::reader::{Array, Header, TensorInfo, Value};
use meno_tensor::finite::first_bad_block;
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// The bytes of a file: mapped, or provided by the caller.
pub(super) enum Bytes {
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

/// An opened GGUF model whose header has been checked.
pub struct Gguf {
    pub(super) path: PathBuf,
    /// The bytes of the file, and of the other files if the model is split.
    pub(super) parts: Vec<Bytes>,
    /// Metadata of the first file, tensors of all files.
    pub(super) header: Header,
}

impl Gguf {
    pub(super) fn read(path: &Path, bytes: Bytes) -> Result<Gguf, Error> {
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
    pub(super) fn stored_value(&self, key: &str) -> Option<&[u8]> {
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

    /// Returns the size of the file in bytes, including the other files if the model is split.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }

    /// Returns a tensor by llama.cpp's name.
    pub fn info(&self, ggml_name: &str) -> Option<&TensorInfo> {
        self.header.tensor(ggml_name)
    }

    /// Returns the stored bytes of a tensor.
    pub(super) fn data(&self, info: &TensorInfo) -> &[u8] {
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
    pub(crate) fn dequantized_slice(&self, tensor: usize, slice: usize, of: usize) -> Vec<f32> {
        let info = &self.header.tensors[tensor];
        let mut values = vec![0.0; info.elements / of];
        meno_tensor::quant::dequant::dequantize(info.dtype, self.slice(tensor, slice, of), &mut values);
        values
    }

    pub(super) fn missing(&self, key: &str) -> Error {
        self.key(key, "is missing".into())
    }

    fn wrong(&self, key: &str, value: &Value, expected: &str) -> Error {
        self.key(key, format!("is {value}, expected {expected}"))
    }

    pub(super) fn key(&self, key: &str, what: String) -> Error {
        Error::Key { path: self.path.clone(), key: key.to_owned(), what }
    }

    pub(super) fn tensor(&self, name: &str, what: String) -> Error {
        Error::Tensor { path: self.path.clone(), name: name.to_owned(), what }
    }
}

impl std::fmt::Debug for Gguf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gguf({}, {} tensors)", self.path.display(), self.header.tensors.len())
    }
}
