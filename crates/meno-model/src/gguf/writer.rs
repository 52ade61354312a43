//! Writes GGUF files, version 3 (see `gguf.rs` for the layout): metadata first, then one tensor after the other, as
//! their bytes are produced.

use super::reader::{DEFAULT_ALIGNMENT, Kind};
use super::{GgmlType, Gguf};
use crate::Error;
use crate::temporary::replace;
use meno_tensor::quant::encode;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// The metadata of a file to write, in order.
#[derive(Default)]
pub struct Metadata {
    /// Each key, with its type and value in their stored form.
    entries: Vec<(String, Vec<u8>)>,
}

impl Metadata {
    /// Sets a key; an existing key keeps its position.
    fn set(&mut self, key: &str, kind: Kind, value: &[u8]) {
        let stored = [&(kind as u32).to_le_bytes()[..], value].concat();
        match self.entries.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => *old = stored,
            None => self.entries.push((key.to_owned(), stored)),
        }
    }

    /// Sets an unsigned integer.
    pub fn u32(&mut self, key: &str, n: u32) {
        self.set(key, Kind::U32, &n.to_le_bytes());
    }

    /// Sets a number.
    pub fn f32(&mut self, key: &str, x: f32) {
        self.set(key, Kind::F32, &x.to_le_bytes());
    }

    /// Sets a signed integer.
    pub fn i32(&mut self, key: &str, n: i32) {
        self.set(key, Kind::I32, &n.to_le_bytes());
    }

    /// Sets a boolean.
    pub fn bool(&mut self, key: &str, flag: bool) {
        self.set(key, Kind::Bool, &[flag.into()]);
    }

    /// Sets a string.
    pub fn string(&mut self, key: &str, s: &str) {
        self.set(key, Kind::String, &string(s));
    }

    /// Sets an array of strings.
    pub fn strings<S: AsRef<str>>(&mut self, key: &str, strings: &[S]) {
        let values: Vec<u8> = strings.iter().flat_map(|s| string(s.as_ref())).collect();
        self.array(key, Kind::String, strings.len(), &values);
    }

    /// Sets an array of integers.
    pub fn i32s(&mut self, key: &str, numbers: &[i32]) {
        let values: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        self.array(key, Kind::I32, numbers.len(), &values);
    }

    /// Sets an array of numbers.
    pub fn f32s(&mut self, key: &str, numbers: &[f32]) {
        let values: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        self.array(key, Kind::F32, numbers.len(), &values);
    }

    fn array(&mut self, key: &str, kind: Kind, len: usize, values: &[u8]) {
        let head = [&(kind as u32).to_le_bytes()[..], &(len as u64).to_le_bytes()];
        self.set(key, Kind::Array, &[&head.concat()[..], values].concat());
    }

    /// Copies the metadata of a file, bit for bit, except the keys about its place in a split model.
    pub fn copied(file: &Gguf) -> Metadata {
        let keys = file.keys().filter(|k| !k.starts_with("split."));
        let entries = keys.filter_map(|k| Some((k.to_owned(), file.stored_value(k)?.to_vec())));
        Metadata { entries: entries.collect() }
    }

    /// Returns a complete file without tensors, the format in which llama.cpp publishes vocabularies.
    pub fn to_file(&self) -> Vec<u8> {
        header(self, &[], DEFAULT_ALIGNMENT as usize)
    }

    /// Copies the tokenizer, the chat template and the sampling settings of a file.
    pub(crate) fn copy_tokenizer(&mut self, file: &Gguf) {
        let other = Metadata::copied(file).entries.into_iter();
        let text = |key: &str| key.starts_with("tokenizer.") || key.starts_with("general.sampling.");
        self.entries.extend(other.filter(|(key, _)| text(key)));
    }
}

/// Encodes length and bytes.
fn string(s: &str) -> Vec<u8> {
    [&(s.len() as u64).to_le_bytes()[..], s.as_bytes()].concat()
}

/// A tensor to write.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// llama.cpp's name.
    pub name: String,
    /// Row-major, slowest first.
    pub shape: Vec<usize>,
    /// Its storage type.
    pub dtype: GgmlType,
}

impl Planned {
    /// Returns its size in the file.
    pub fn bytes(&self) -> usize {
        encode::bytes(self.dtype, self.shape.iter().product())
    }
}

/// Receives the bytes of a tensor, in any number of pieces.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> io::Result<()>;

/// Writes a file, first under a temporary name. `data` provides the bytes of the tensor with this index.
pub(crate) fn write(
    path: &Path,
    metadata: &Metadata,
    tensors: &[Planned],
    mut data: impl FnMut(usize, Sink) -> Result<(), Error>,
) -> Result<(), Error> {
    let alignment = DEFAULT_ALIGNMENT as usize;
    let padding = |n: usize| vec![0; n.next_multiple_of(alignment) - n];
    replace(path, |temporary| {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let mut file = BufWriter::with_capacity(1 << 20, File::create(temporary).map_err(io)?);
        let header = header(metadata, tensors, alignment);
        file.write_all(&header).map_err(io)?;
        file.write_all(&padding(header.len())).map_err(io)?;
        for (i, tensor) in tensors.iter().enumerate() {
            let mut written = 0;
            data(i, &mut |bytes| {
                written += bytes.len();
                file.write_all(bytes)
            })?;
            assert_eq!(written, tensor.bytes(), "invariant: {} is as large as the header says", tensor.name);
            file.write_all(&padding(written)).map_err(io)?;
        }
        file.flush().map_err(io)
    })
}

/// Returns everything before the tensors' bytes.
fn header(metadata: &Metadata, tensors: &[Planned], alignment: usize) -> Vec<u8> {
    let mut out = b"GGUF".to_vec();
    out.extend(3u32.to_le_bytes());
    // A copied alignment is not valid here.
    let entries = || metadata.entries.iter().filter(|(key, _)| key != "general.alignment");
    for n in [tensors.len(), entries().count()] {
        out.extend((n as u64).to_le_bytes());
    }
    for (key, value) in entries() {
        out.extend(string(key));
        out.extend(value);
    }
    let mut offset = 0;
    for tensor in tensors {
        out.extend(string(&tensor.name));
        out.extend((tensor.shape.len() as u32).to_le_bytes());
        for &d in tensor.shape.iter().rev() {
            out.extend((d as u64).to_le_bytes());
        }
        out.extend(tensor.dtype.code().to_le_bytes());
        out.extend((offset as u64).to_le_bytes());
        offset = (offset + tensor.bytes()).next_multiple_of(alignment);
    }
    out
}
