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
mod error;
mod export;
mod file;
pub(crate) mod mixture;
mod names;
mod reader;
mod split;
pub(crate) mod writer;

pub use error::Error;
pub(crate) use export::{Export, Part, Tensor as ExportedTensor, permute, split_kv_b};
pub use file::Gguf;
pub use meno_tensor::quant::GgmlType;
pub use mixture::FileType;
pub use names::Blocks;
pub use names::hf_name;
pub use reader::{Array, Elements, TensorInfo, Value};
pub use writer::{Metadata, Planned};

use file::Bytes;
use meno_tensor::finite::first_bad_block;
use std::path::Path;

fn map(path: &Path) -> Result<Bytes, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let file = crate::input::open(path).map_err(io)?;
    // SAFETY: the map is only read, as bytes. If another process changes the file while it is open, the bytes change
    // (or the process stops), as in every reader of mapped weights.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
    Ok(Bytes::Map(map))
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

    /// Rejects a tensor, by its Hugging Face name, with a value that is not finite. Reads only the stored scales.
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
}
