//! Parses the header of a GGUF file. Every number is checked against the available bytes.

use super::GgmlType;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

/// ggml's own limit.
const MAX_DIMS: u32 = 4;
/// The format allows nested arrays, but no known file uses them; deeper ones are an error or an attack.
const MAX_ARRAY_DEPTH: usize = 4;
/// The tensor data and each tensor start at a multiple of this, unless `general.alignment` sets another value.
pub(super) const DEFAULT_ALIGNMENT: u64 = 32;

/// A metadata value. Arrays stay in the file.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Any unsigned integer.
    Unsigned(u64),
    /// Any signed integer.
    Signed(i64),
    /// 32-bit float.
    F32(f32),
    /// 64-bit float.
    F64(f64),
    /// A boolean.
    Bool(bool),
    /// A string.
    String(String),
    /// An array, not decoded.
    Array(Array),
}

impl Value {
    /// Returns the value as a non-negative integer.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Value::Unsigned(n) => Some(n),
            Value::Signed(n) => u64::try_from(n).ok(),
            _ => None,
        }
    }

    /// Returns the value as a number; an f32 is read as its shortest decimal.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Value::F32(x) => x.to_string().parse().ok(),
            Value::F64(x) => Some(x),
            Value::Unsigned(n) => Some(n as f64),
            Value::Signed(n) => Some(n as f64),
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Unsigned(n) => write!(f, "{n}"),
            Value::Signed(n) => write!(f, "{n}"),
            Value::F32(x) => write!(f, "{x}"),
            Value::F64(x) => write!(f, "{x}"),
            Value::Bool(b) => write!(f, "{b}"),
            Value::String(s) if s.chars().count() > 60 => {
                write!(f, "{:?}…", s.chars().take(60).collect::<String>())
            }
            Value::String(s) => write!(f, "{s:?}"),
            Value::Array(a) => write!(f, "[{} × {}]", a.len, a.kind.name()),
        }
    }
}

/// Element types of metadata, by GGUF's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

impl Kind {
    fn new(code: u32) -> Option<Kind> {
        use Kind::*;
        [U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64].get(code as usize).copied()
    }

    /// Returns the size of one element in bytes, if it is fixed.
    fn size(self) -> Option<usize> {
        match self {
            Kind::U8 | Kind::I8 | Kind::Bool => Some(1),
            Kind::U16 | Kind::I16 => Some(2),
            Kind::U32 | Kind::I32 | Kind::F32 => Some(4),
            Kind::U64 | Kind::I64 | Kind::F64 => Some(8),
            Kind::String | Kind::Array => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::U8 => "u8",
            Kind::I8 => "i8",
            Kind::U16 => "u16",
            Kind::I16 => "i16",
            Kind::U32 => "u32",
            Kind::I32 => "i32",
            Kind::F32 => "f32",
            Kind::Bool => "bool",
            Kind::String => "string",
            Kind::Array => "array",
            Kind::U64 => "u64",
            Kind::I64 => "i64",
            Kind::F64 => "f64",
        }
    }
}

/// A metadata array: its place in the file, whose bytes have been checked to hold `len` elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    kind: Kind,
    len: usize,
    start: usize,
    end: usize,
}

impl Array {
    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the strings, if it is an array of strings.
    pub fn strings<'a>(&self, file: &'a [u8]) -> Option<Elements<'a>> {
        (self.kind == Kind::String)
            .then(|| Elements { cursor: Cursor { bytes: &file[..self.end], at: self.start }, left: self.len })
    }

    /// Returns the integers, if it is an array of integers.
    pub fn integers<'a>(&self, file: &'a [u8]) -> Option<impl Iterator<Item = i64> + use<'a>> {
        let (kind, size) = (self.kind, self.kind.size()?);
        if matches!(kind, Kind::F32 | Kind::F64 | Kind::Bool) {
            return None;
        }
        Some(file[self.start..self.end].chunks_exact(size).map(move |bytes| match integer(kind, bytes) {
            Value::Signed(n) => n,
            Value::Unsigned(n) => n as i64,
            _ => unreachable!("invariant: integer() gives whole numbers"),
        }))
    }

    /// Returns the 32-bit floats, if it is an array of them.
    pub fn floats<'a>(&self, file: &'a [u8]) -> Option<impl Iterator<Item = f32> + use<'a>> {
        let bytes = (self.kind == Kind::F32).then(|| &file[self.start..self.end])?;
        Some(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])))
    }
}

/// The strings of a metadata array, decoded one at a time.
pub struct Elements<'a> {
    cursor: Cursor<'a>,
    left: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<&'a str, String>;
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(self.cursor.string("array element"))
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// One stored tensor.
#[derive(Clone, Debug)]
pub struct TensorInfo {
    /// llama.cpp's name: `blk.0.attn_q.weight`.
    pub name: String,
    /// Row-major, slowest first: the reverse of the file's order, so that it matches Hugging Face's.
    pub shape: Vec<usize>,
    /// How the elements are stored.
    pub dtype: GgmlType,
    /// Number of elements.
    pub elements: usize,
    /// Number of bytes.
    pub bytes: usize,
    /// Index of the model's file that contains it.
    pub(super) part: usize,
    /// Offset of its bytes in the file.
    pub(super) start: usize,
}

/// Everything before the tensors' bytes.
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) metadata: Vec<(String, Value)>,
    pub(super) tensors: Vec<TensorInfo>,
    /// The places of the types and values of the metadata.
    spans: Vec<Range<usize>>,
    keys: HashMap<String, usize>,
    names: HashMap<String, usize>,
}

impl Header {
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        self.keys.get(key).map(|&i| &self.metadata[i].1)
    }

    /// Returns the place of the type and value of a key.
    pub(super) fn span(&self, key: &str) -> Option<Range<usize>> {
        self.keys.get(key).map(|&i| self.spans[i].clone())
    }

    pub(super) fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.names.get(name).map(|&i| &self.tensors[i])
    }

    /// Adds the tensors of the header of another file, number `part`.
    pub(super) fn append(&mut self, other: Header, part: usize) -> Result<(), String> {
        for tensor in other.tensors {
            if self.names.insert(tensor.name.clone(), self.tensors.len()).is_some() {
                return Err(format!("tensor `{}` is in another file too", tensor.name));
            }
            self.tensors.push(TensorInfo { part, ..tensor });
        }
        Ok(())
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Header, String> {
        let mut c = Cursor { bytes, at: 0 };
        if c.take(4, "magic")? != b"GGUF" {
            return Err("it does not start with \"GGUF\"".into());
        }
        let version = c.u32("version")?;
        match version {
            2 | 3 => {}
            0x0200_0000 | 0x0300_0000 => return Err("it is big-endian; only little-endian files are read".into()),
            _ => return Err(format!("version {version}; supported are versions 2 and 3; convert the model again")),
        }
        let tensor_count = c.u64("tensor count")?;
        let metadata_count = c.u64("metadata count")?;

        let (mut metadata, mut spans, mut keys) = (Vec::new(), Vec::new(), HashMap::new());
        for i in 0..metadata_count {
            let key = c.string("metadata key").map_err(|e| format!("{e} (entry {i} of {metadata_count})"))?.to_owned();
            let start = c.at;
            let value = c.value(&key)?;
            spans.push(start..c.at);
            if keys.insert(key.clone(), metadata.len()).is_some() {
                return Err(format!("metadata key `{key}` occurs twice"));
            }
            metadata.push((key, value));
        }
        let mut header = Header { version, metadata, tensors: Vec::new(), spans, keys, names: HashMap::new() };

        let alignment = header.alignment()?;
        for i in 0..tensor_count {
            let tensor = c.tensor(alignment).map_err(|e| format!("{e} (tensor {i} of {tensor_count})"))?;
            if header.names.insert(tensor.name.clone(), header.tensors.len()).is_some() {
                return Err(format!("tensor `{}` occurs twice", tensor.name));
            }
            header.tensors.push(tensor);
        }
        header.place(c.at, alignment, bytes.len())?;
        Ok(header)
    }

    fn alignment(&self) -> Result<u64, String> {
        let Some(value) = self.value("general.alignment") else { return Ok(DEFAULT_ALIGNMENT) };
        match value.as_u64() {
            Some(n) if n.is_power_of_two() && n <= 1 << 30 => Ok(n),
            _ => Err(format!("general.alignment is {value}, expected a power of two")),
        }
    }

    /// Makes the tensors' offsets absolute, and checks that they are inside the file and do not overlap: a file cannot
    /// claim more elements than its bytes can hold.
    fn place(&mut self, header_end: usize, alignment: u64, file_len: usize) -> Result<(), String> {
        let data = (header_end as u64).checked_next_multiple_of(alignment);
        let data = data.ok_or("the header's end overflows")?;
        for t in &mut self.tensors {
            let end = data.checked_add(t.start as u64).and_then(|s| s.checked_add(t.bytes as u64));
            match end {
                Some(end) if end <= file_len as u64 => t.start = end as usize - t.bytes,
                _ => {
                    let end = end.map_or("beyond 2^64".into(), |e| e.to_string());
                    return Err(format!(
                        "tensor `{}` ends at byte {end}, but the file at {file_len}: it is cut short, or its offset is \
                         wrong; fetch it again",
                        t.name
                    ));
                }
            }
        }
        let mut order: Vec<&TensorInfo> = self.tensors.iter().collect();
        order.sort_by_key(|t| t.start);
        for pair in order.windows(2) {
            if pair[0].start + pair[0].bytes > pair[1].start {
                return Err(format!("tensors `{}` and `{}` overlap", pair[0].name, pair[1].name));
            }
        }
        Ok(())
    }
}

/// Reads forward through untrusted bytes.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize, what: &str) -> Result<&'a [u8], String> {
        let left = self.bytes.len() - self.at;
        if n > left {
            return Err(format!(
                "{what} at byte {} needs {n} bytes, but {left} are left: the file is cut short or damaged; fetch it \
                 again",
                self.at
            ));
        }
        let bytes = &self.bytes[self.at..self.at + n];
        self.at += n;
        Ok(bytes)
    }

    fn u32(&mut self, what: &str) -> Result<u32, String> {
        let bytes = self.take(4, what)?;
        Ok(u32::from_le_bytes(bytes.try_into().expect("invariant: four bytes")))
    }

    fn u64(&mut self, what: &str) -> Result<u64, String> {
        let bytes = self.take(8, what)?;
        Ok(u64::from_le_bytes(bytes.try_into().expect("invariant: eight bytes")))
    }

    /// Reads a length that must fit in `usize`; `take` checks that the bytes exist.
    fn len(&mut self, what: &str) -> Result<usize, String> {
        let n = self.u64(what)?;
        usize::try_from(n).map_err(|_| format!("{what} is {n}, more than can be addressed"))
    }

    fn string(&mut self, what: &str) -> Result<&'a str, String> {
        let n = self.len(what)?;
        let at = self.at;
        std::str::from_utf8(self.take(n, what)?).map_err(|_| format!("{what} at byte {at} is not UTF-8"))
    }

    fn kind(&mut self, key: &str) -> Result<Kind, String> {
        let code = self.u32(key)?;
        Kind::new(code).ok_or_else(|| format!("metadata key `{key}` has the unknown type {code}"))
    }

    fn value(&mut self, key: &str) -> Result<Value, String> {
        let kind = self.kind(key)?;
        match kind {
            Kind::String => Ok(Value::String(self.string(key)?.to_owned())),
            Kind::Array => self.array(key),
            _ => {
                let bytes = self.take(kind.size().expect("invariant: scalars have a size"), key)?;
                match kind {
                    Kind::F32 => Ok(Value::F32(f32::from_le_bytes(bytes.try_into().expect("invariant: four bytes")))),
                    Kind::F64 => Ok(Value::F64(f64::from_le_bytes(bytes.try_into().expect("invariant: eight bytes")))),
                    Kind::Bool if bytes[0] > 1 => Err(format!("metadata key `{key}` is a bool of value {}", bytes[0])),
                    Kind::Bool => Ok(Value::Bool(bytes[0] == 1)),
                    _ => Ok(integer(kind, bytes)),
                }
            }
        }
    }

    fn array(&mut self, key: &str) -> Result<Value, String> {
        let kind = self.kind(key)?;
        let len = self.len(key)?;
        let start = self.at;
        self.skip(kind, len, key, 1)?;
        Ok(Value::Array(Array { kind, len, start, end: self.at }))
    }

    /// Skips `len` elements. Every element takes at least a byte, so a false length ends at the end of the file.
    fn skip(&mut self, kind: Kind, len: usize, key: &str, depth: usize) -> Result<(), String> {
        if let Some(size) = kind.size() {
            let n = len.checked_mul(size).ok_or_else(|| format!("metadata key `{key}` claims {len} elements"))?;
            return self.take(n, key).map(|_| ());
        }
        if depth > MAX_ARRAY_DEPTH {
            return Err(format!("metadata key `{key}` nests arrays more than {MAX_ARRAY_DEPTH} deep"));
        }
        for _ in 0..len {
            if kind == Kind::String {
                let n = self.len(key)?;
                self.take(n, key)?;
            } else {
                let (kind, len) = (self.kind(key)?, self.len(key)?);
                self.skip(kind, len, key, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Reads one tensor's entry; `start` is still relative to the tensor data.
    fn tensor(&mut self, alignment: u64) -> Result<TensorInfo, String> {
        let name = self.string("tensor name")?.to_owned();
        let n_dims = self.u32("number of dimensions")?;
        if n_dims == 0 || n_dims > MAX_DIMS {
            return Err(format!("tensor `{name}` has {n_dims} dimensions, expected 1 to {MAX_DIMS}"));
        }
        let mut shape = Vec::with_capacity(MAX_DIMS as usize);
        for _ in 0..n_dims {
            shape.push(self.len("dimension")?);
        }
        let code = self.u32("tensor type")?;
        let dtype = GgmlType::new(code).ok_or_else(|| {
            let known: Vec<_> = GgmlType::ALL.iter().map(|t| t.name()).collect();
            format!("tensor `{name}` has ggml type {code}, which is not supported (supported are {})", known.join(", "))
        })?;
        let row = shape[0];
        shape.reverse();
        let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let elements = elements.ok_or_else(|| format!("tensor `{name}` of shape {shape:?} has too many elements"))?;
        if elements == 0 || row % dtype.block_elements() != 0 {
            let block = dtype.block_elements();
            return Err(format!(
                "tensor `{name}` has shape {shape:?}; {} needs rows of a multiple of {block}",
                dtype.name()
            ));
        }
        let bytes = (elements / dtype.block_elements()).checked_mul(dtype.block_bytes());
        let bytes = bytes.ok_or_else(|| format!("tensor `{name}` of shape {shape:?} has too many bytes"))?;
        let start = self.len("tensor offset")?;
        if !(start as u64).is_multiple_of(alignment) {
            return Err(format!("tensor `{name}` starts at {start}, not a multiple of the alignment {alignment}"));
        }
        Ok(TensorInfo { name, shape, dtype, elements, bytes, part: 0, start })
    }
}

/// Decodes an integer of the kind's size.
fn integer(kind: Kind, b: &[u8]) -> Value {
    let mut wide = [0; 8];
    wide[..b.len()].copy_from_slice(b);
    let n = u64::from_le_bytes(wide);
    match kind {
        Kind::I8 => Value::Signed(n as u8 as i8 as i64),
        Kind::I16 => Value::Signed(n as u16 as i16 as i64),
        Kind::I32 => Value::Signed(n as u32 as i32 as i64),
        Kind::I64 => Value::Signed(n as i64),
        _ => Value::Unsigned(n),
    }
}
