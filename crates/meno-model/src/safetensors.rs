//! Safetensors files: mapped for reading, written tensor by tensor.

use crate::fp8::e8m0;
use crate::temporary::replace;
use crate::{Error, input, recognize};
use half::slice::HalfFloatSliceExt;
use memmap2::Mmap;
use meno_tensor::finite::{all_finite, first_not_below};
use meno_tensor::precision::Precision;
use meno_tensor::quant::fp8::E4M3;
use rayon::prelude::*;
use safetensors::tensor::{Metadata, SafeTensorError, SafeTensors, TensorInfo, View};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The storage type of weights in a file. It has more types than [`Precision`], in which networks are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dtype {
    /// Unrounded.
    #[default]
    F32,
    /// Rounded to bf16 (nearest, ties to even), the type of published models.
    Bf16,
    /// Rounded to f16.
    F16,
}

impl From<Precision> for Dtype {
    fn from(precision: Precision) -> Dtype {
        match precision {
            Precision::F32 => Dtype::F32,
            Precision::Bf16 => Dtype::Bf16,
        }
    }
}

impl Dtype {
    /// Returns its name in config.json.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "float32",
            Dtype::Bf16 => "bfloat16",
            Dtype::F16 => "float16",
        }
    }

    /// Returns the magnitude that rounds to infinity; only values below it can be stored.
    pub(crate) fn limit(self) -> f32 {
        match self {
            Dtype::F32 => f32::INFINITY,
            // Halfway between the largest finite value and the next power of two.
            Dtype::Bf16 => f32::from_bits(0x7F7F_8000),
            Dtype::F16 => 65520.0,
        }
    }

    /// Rejects values that are not finite, or would be stored as infinity.
    pub(crate) fn check(self, path: &Path, tensor: &str, values: &[f32]) -> Result<(), Error> {
        match first_not_below(values, self.limit()) {
            None => Ok(()),
            Some(index) if !values[index].is_finite() => Err(Error::not_finite(path, tensor, index)),
            Some(index) => {
                let (value, name) = (values[index], self.name());
                let what =
                    format!("tensor `{tensor}` has {value:e} at element {index}, too large for {name}: use bf16");
                Err(Error::malformed(path, what))
            }
        }
    }

    /// Returns the size of a value in bytes.
    pub(crate) fn size(self) -> usize {
        if self == Dtype::F32 { 4 } else { 2 }
    }

    /// Returns its name in safetensors.
    pub(crate) fn stored(self) -> safetensors::Dtype {
        match self {
            Dtype::F32 => safetensors::Dtype::F32,
            Dtype::Bf16 => safetensors::Dtype::BF16,
            Dtype::F16 => safetensors::Dtype::F16,
        }
    }

    /// Converts `values` to their stored form.
    pub(crate) fn bytes(self, values: &[f32]) -> Cow<'_, [u8]> {
        match self {
            Dtype::F32 if cfg!(target_endian = "little") => Cow::Borrowed(bytemuck::cast_slice(values)),
            Dtype::F32 => Cow::Owned(values.iter().flat_map(|x| x.to_le_bytes()).collect()),
            Dtype::Bf16 => {
                let mut rounded = vec![half::bf16::ZERO; values.len()];
                rounded.convert_from_f32_slice(values);
                Cow::Owned(rounded.iter().flat_map(|x| x.to_le_bytes()).collect())
            }
            Dtype::F16 => {
                let mut rounded = vec![half::f16::ZERO; values.len()];
                rounded.convert_from_f32_slice(values);
                Cow::Owned(rounded.iter().flat_map(|x| x.to_le_bytes()).collect())
            }
        }
    }
}

/// A mapped safetensors file whose header has been checked against its length.
pub struct Safetensors {
    path: PathBuf,
    map: Mmap,
    /// Offset of the tensors' bytes.
    start: usize,
    metadata: Metadata,
}

/// Maximum dimensions of a tensor; networks have up to four.
const MAX_DIMS: usize = 8;
/// Values converted by one task.
const CHUNK: usize = 1 << 16;

impl Safetensors {
    /// Maps the file and reads its header.
    pub fn open(path: &Path) -> Result<Safetensors, Error> {
        let file = input::open(path).map_err(Error::io(path))?;
        // SAFETY: the map is only read, as bytes. If another process changes the file while it is open, the bytes
        // change (or the process stops), as in every reader of mapped weights.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io(path))?;
        let (header, metadata) = SafeTensors::read_metadata(&map).map_err(|e| {
            let cut = || format!("not a usable safetensors file: {e}; it may be cut short: fetch or copy it again");
            Error::malformed(path, recognize::content::instead(path).unwrap_or_else(cut))
        })?;
        if let Some((name, info)) = metadata.tensors().into_iter().find(|(_, info)| info.shape.len() > MAX_DIMS) {
            let what = format!("tensor `{name}` has {} dimensions, expected at most {MAX_DIMS}", info.shape.len());
            return Err(Error::malformed(path, what));
        }
        Ok(Safetensors { path: path.to_owned(), start: 8 + header, map, metadata })
    }

    /// Returns the names of its tensors.
    pub fn names(&self) -> Vec<String> {
        self.metadata.offset_keys()
    }

    /// Returns the shape of a tensor, if present.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.metadata.info(name).map(|info| info.shape.as_slice())
    }

    /// Returns true if a tensor holds FP8 codes, which cannot be used without their factors.
    pub(crate) fn is_fp8(&self, name: &str) -> bool {
        self.metadata.info(name).is_some_and(|info| info.dtype == safetensors::Dtype::F8_E4M3)
    }

    /// Reads a tensor as f32 into `out`, which must have exactly its number of elements. FP8 codes are read without
    /// their factors. Values that are not finite are an error.
    pub fn read_f32(&self, name: &str, out: &mut [f32]) -> Result<(), Error> {
        use safetensors::Dtype as D;
        let info = self.metadata.info(name);
        let info = info.ok_or_else(|| Error::malformed(&self.path, format!("no tensor `{name}`")))?;
        let bytes = self.bytes(info);
        let size = match info.dtype {
            D::F32 => 4,
            D::F16 | D::BF16 => 2,
            D::F8_E4M3 | D::F8_E8M0 => 1,
            other => {
                let what =
                    format!("tensor `{name}` is {other:?}: supported are F32, F16, BF16 and F8_E4M3; convert it");
                return Err(Error::malformed(&self.path, what));
            }
        };
        if bytes.len() != out.len() * size {
            let what = format!("tensor `{name}` has shape {:?}, expected {} elements", info.shape, out.len());
            return Err(Error::malformed(&self.path, what));
        }
        let convert = |out: &mut [f32], bytes: &[u8]| match info.dtype {
            D::BF16 => {
                for (out, b) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                    *out = half::bf16::from_le_bytes([b[0], b[1]]).to_f32();
                }
            }
            D::F16 => {
                for (out, b) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                    *out = half::f16::from_le_bytes([b[0], b[1]]).to_f32();
                }
            }
            D::F8_E4M3 => out.iter_mut().zip(bytes).for_each(|(out, &b)| *out = E4M3[usize::from(b)]),
            D::F8_E8M0 => out.iter_mut().zip(bytes).for_each(|(out, &b)| *out = e8m0(b)),
            _ => {
                for (out, b) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                    *out = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
                }
            }
        };
        // Each chunk is checked while it is in the cache.
        let chunks = out.par_chunks_mut(CHUNK).zip(bytes.par_chunks(CHUNK * size)).map(|(out, bytes)| {
            convert(out, bytes);
            all_finite(out)
        });
        if chunks.reduce(|| true, |a, b| a && b) {
            return Ok(());
        }
        let index = first_not_below(out, f32::INFINITY).unwrap_or_default();
        Err(Error::not_finite(&self.path, name, index))
    }

    /// Returns the codes of an FP8 tensor. NaN is an error.
    pub(crate) fn fp8_codes(&self, name: &str) -> Result<&[u8], Error> {
        let info = self.metadata.info(name).filter(|_| self.is_fp8(name));
        let codes = self.bytes(info.ok_or_else(|| Error::malformed(&self.path, format!("no FP8 tensor `{name}`")))?);
        match codes.par_iter().position_first(|code| code & 0x7F == 0x7F) {
            Some(index) => Err(Error::not_finite(&self.path, name, index)),
            None => Ok(codes),
        }
    }

    fn bytes(&self, info: &TensorInfo) -> &[u8] {
        let (start, end) = info.data_offsets;
        &self.map[self.start + start..self.start + end]
    }
}

/// A tensor to write; it is converted when it is written.
pub struct Tensor<'a> {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values.
    pub data: &'a [f32],
    /// The storage type.
    pub dtype: Dtype,
}

impl View for &Tensor<'_> {
    fn dtype(&self) -> safetensors::Dtype {
        self.dtype.stored()
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        self.dtype.bytes(self.data)
    }
    fn data_len(&self) -> usize {
        self.data.len() * self.dtype.size()
    }
}

/// Writes a safetensors file: under a temporary name, flushed to disk, then renamed.
pub fn write(path: &Path, tensors: &[Tensor]) -> Result<(), Error> {
    write_views(path, tensors.iter().map(|t| (t.name.as_str(), t)))
}

/// Like `write`, for any source that provides its bytes when it is written.
pub(crate) fn write_views<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, impl View)>,
) -> Result<(), Error> {
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    replace(path, |temporary| {
        safetensors::serialize_to_file(tensors, Some(metadata), temporary).map_err(|e| match e {
            SafeTensorError::IoError(source) => Error::Io { path: path.to_owned(), source },
            other => Error::malformed(path, format!("cannot be written: {other}")),
        })
    })
}
