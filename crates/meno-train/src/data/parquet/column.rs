//! One column of a row group: pages, levels, encodings. Nothing is decoded before it is asked for, so that memory is
//! that of one page and one dictionary, whatever a page claims to hold.

use super::thrift::{Reader, Thrift};
use flate2::read::MultiGzDecoder;
use ruzstd::decoding::FrameDecoder;
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// Most bytes of a page, compressed or not.
const MAX_PAGE: usize = 256 << 20;
/// Most values of a page.
const MAX_VALUES: i64 = 1 << 24;
/// Most bytes of a page's header.
const MAX_HEADER: usize = 1 << 20;

/// A physical type of Parquet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    Int32 {
        signed: bool,
    },
    Int64 {
        signed: bool,
    },
    Float,
    Double,
    /// Bytes; `text` if the schema says that they are UTF-8.
    Bytes {
        text: bool,
    },
    /// This many bytes that no text or number stands for.
    Opaque(usize),
}

/// What a column's values are.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) max_def: u32,
    pub(super) max_rep: u32,
}

/// A repetition level, a definition level and, where the latter is the highest, a value.
pub(super) struct Entry {
    pub(super) rep: u32,
    pub(super) def: u32,
    pub(super) value: Value,
}

/// A column chunk as it is read.
pub(super) struct Column<'a> {
    leaf: &'a Leaf,
    file: &'a File,
    at: u64,
    end: u64,
    codec: i64,
    /// Values that the chunk still has, the current page's included.
    left: i64,
    dictionary: Vec<Value>,
    page: Page,
    ahead: Option<Entry>,
}

#[derive(Default)]
struct Page {
    bytes: Vec<u8>,
    left: i64,
    rep: Hybrid,
    def: Hybrid,
    values: Values,
}

/// How the values of a page are stored.
#[derive(Default)]
enum Values {
    #[default]
    None,
    Plain {
        at: usize,
        bit: u8,
    },
    Dictionary(Hybrid),
    Boolean(Hybrid),
    Integers(std::vec::IntoIter<i64>),
    Strings {
        at: usize,
        lengths: std::vec::IntoIter<i64>,
        prefixes: Option<std::vec::IntoIter<i64>>,
        last: Vec<u8>,
    },
}

impl<'a> Column<'a> {
    /// The column of a `ColumnChunk`.
    pub(super) fn new(leaf: &'a Leaf, file: &'a File, chunk: &Thrift) -> Result<Self, String> {
        let meta = chunk.field(3).ok_or("a column has no metadata")?;
        if chunk.text(1).is_some_and(|path| !path.is_empty()) {
            return Err("its columns lie in other files".into());
        }
        let at =
            meta.int(11).into_iter().chain(meta.int(9)).filter(|o| *o > 0).min().ok_or("a column has no offset")?;
        let size = meta.int(7).filter(|s| *s >= 0).ok_or("a column has no size")?;
        let end = (at as u64).saturating_add(size as u64);
        let (codec, left) = (meta.int(4).unwrap_or(0), meta.int(5).unwrap_or(0));
        let (dictionary, page, ahead) = (Vec::new(), Page::default(), None);
        Ok(Column { leaf, file, at: at as u64, end, codec, left, dictionary, page, ahead })
    }

    /// The next entry, which stays; `None` at the end of the chunk.
    pub(super) fn peek(&mut self) -> Result<Option<&Entry>, String> {
        if self.ahead.is_none() {
            self.ahead = self.entry().map_err(|e| format!("column `{}`: {e}", self.leaf.name))?;
        }
        Ok(self.ahead.as_ref())
    }

    /// Takes the next entry.
    pub(super) fn take(&mut self) -> Result<Entry, String> {
        self.peek()?;
        self.ahead.take().ok_or_else(|| format!("column `{}` has fewer values than there are rows", self.leaf.name))
    }

    fn entry(&mut self) -> Result<Option<Entry>, String> {
        if self.left <= 0 {
            return Ok(None);
        }
        while self.page.left == 0 {
            self.next_page()?;
        }
        self.page.left -= 1;
        self.left -= 1;
        let page = &mut self.page;
        let rep = if self.leaf.max_rep > 0 { page.rep.next(&page.bytes)? } else { 0 };
        let def = if self.leaf.max_def > 0 { page.def.next(&page.bytes)? } else { 0 };
        let value = if def == self.leaf.max_def { page.value(self.leaf.kind, &self.dictionary)? } else { Value::Null };
        Ok(Some(Entry { rep, def, value }))
    }

    fn read(&mut self, len: usize) -> Result<Vec<u8>, String> {
        let end = self.at.checked_add(len as u64).filter(|e| *e <= self.end).ok_or("a page is cut short")?;
        let mut bytes = Vec::new();
        let mut file = self.file;
        let read = file.seek(SeekFrom::Start(self.at)).and_then(|_| file.take(len as u64).read_to_end(&mut bytes));
        if read.map_err(|e| e.to_string())? != len {
            return Err("a page is cut short".into());
        }
        self.at = end;
        Ok(bytes)
    }

    fn next_page(&mut self) -> Result<(), String> {
        let ahead = (self.end.saturating_sub(self.at) as usize).min(MAX_HEADER);
        if ahead == 0 {
            return Err("has fewer values than it says".into());
        }
        let start = self.at;
        // Most headers are short; one with long statistics is read again.
        let mut header = None;
        for len in [ahead.min(4096), ahead] {
            self.at = start;
            let bytes = self.read(len)?;
            let mut reader = Reader::new(&bytes);
            match reader.read_struct() {
                Ok(found) => {
                    self.at = start + reader.position() as u64;
                    header = Some(found);
                    break;
                }
                Err(e) if len == ahead => return Err(e),
                Err(_) => {}
            }
        }
        let header = header.ok_or("a page has no header")?;
        let size = |id| match header.int(id) {
            Some(n) if (0..=MAX_PAGE as i64).contains(&n) => Ok(n as usize),
            other => Err(format!("a page of {other:?} bytes; at most {MAX_PAGE} are read")),
        };
        let (plain, packed) = (size(2)?, size(3)?);
        let bytes = self.read(packed)?;
        match header.int(1) {
            Some(0) => self.data_page(header.field(5).unwrap_or(&header), &bytes, plain),
            Some(2) => self.dictionary_page(header.field(7).unwrap_or(&header), &bytes, plain),
            Some(3) => self.data_page_v2(header.field(8).unwrap_or(&header), &bytes, plain),
            _ => Ok(()), // an index page
        }
    }

    fn dictionary_page(&mut self, header: &Thrift, bytes: &[u8], plain: usize) -> Result<(), String> {
        let bytes = decompress(self.codec, bytes, plain)?;
        let mut page = Page { bytes, values: Values::Plain { at: 0, bit: 0 }, ..Page::default() };
        let count = values_of(header)?;
        self.dictionary.clear();
        for _ in 0..count {
            self.dictionary.push(page.value(self.leaf.kind, &[])?);
        }
        Ok(())
    }

    fn data_page(&mut self, header: &Thrift, bytes: &[u8], plain: usize) -> Result<(), String> {
        let bytes = decompress(self.codec, bytes, plain)?;
        let mut at = 0;
        let mut levels = |max: u32, encoding: i16| {
            if max == 0 {
                return Ok(Hybrid::default());
            }
            if header.int(encoding) != Some(3) {
                return Err("its levels are bit-packed, which is out of use".to_owned());
            }
            let len = u32_at(&bytes, at)? as usize;
            let start = at + 4;
            at = start.checked_add(len).filter(|end| *end <= bytes.len()).ok_or("a page is cut short")?;
            Ok(Hybrid::new(start, at, width(max)))
        };
        let rep = levels(self.leaf.max_rep, 4)?;
        let def = levels(self.leaf.max_def, 3)?;
        let count = values_of(header)?;
        let values = Values::new(header.int(2).unwrap_or(0), &bytes, at, count, self.leaf.kind)?;
        self.page = Page { bytes, left: count, rep, def, values };
        Ok(())
    }

    fn data_page_v2(&mut self, header: &Thrift, bytes: &[u8], plain: usize) -> Result<(), String> {
        let len = |id| header.int(id).filter(|n| *n >= 0).map_or(0, |n| n as usize);
        let (rep_len, def_len) = (len(6), len(5));
        let levels = rep_len.checked_add(def_len).filter(|n| *n <= bytes.len() && *n <= plain);
        let levels = levels.ok_or("a page is cut short")?;
        let compressed = !matches!(header.field(7), Some(Thrift::Bool(false)));
        let mut all = bytes[..levels].to_vec();
        if compressed {
            all.extend(decompress(self.codec, &bytes[levels..], plain - levels)?);
        } else {
            all.extend_from_slice(&bytes[levels..]);
        }
        let rep = Hybrid::new(0, rep_len, width(self.leaf.max_rep));
        let def = Hybrid::new(rep_len, levels, width(self.leaf.max_def));
        let count = values_of(header)?;
        let values = Values::new(header.int(4).unwrap_or(0), &all, levels, count, self.leaf.kind)?;
        self.page = Page { bytes: all, left: count, rep, def, values };
        Ok(())
    }
}

fn values_of(header: &Thrift) -> Result<i64, String> {
    match header.int(1) {
        Some(n) if (0..=MAX_VALUES).contains(&n) => Ok(n),
        other => Err(format!("a page of {other:?} values; at most {MAX_VALUES} are read")),
    }
}

/// Bits that levels up to `max` take.
fn width(max: u32) -> u32 {
    32 - max.leading_zeros()
}

fn decompress(codec: i64, bytes: &[u8], plain: usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let limit = plain as u64 + 1;
    match codec {
        0 => out.extend_from_slice(bytes),
        1 => {
            if snap::raw::decompress_len(bytes).map_err(|e| e.to_string())? != plain {
                return Err("a page has another size than its header says".into());
            }
            out = snap::raw::Decoder::new().decompress_vec(bytes).map_err(|e| e.to_string())?;
        }
        2 => drop(MultiGzDecoder::new(bytes).take(limit).read_to_end(&mut out).map_err(|e| e.to_string())?),
        6 => {
            let mut frame = FrameDecoder::new();
            out.resize(plain, 0);
            let n = frame.decode_all(bytes, &mut out).map_err(|e| e.to_string())?;
            out.truncate(n);
        }
        other => {
            let name = ["none", "snappy", "gzip", "LZO", "Brotli", "LZ4", "zstd", "LZ4"].get(other as usize);
            let name = name.copied().unwrap_or("an unknown codec");
            return Err(format!("is compressed with {name}; write it with snappy, gzip, zstd or none"));
        }
    }
    if out.len() != plain {
        return Err("a page has another size than its header says".into());
    }
    Ok(out)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, String> {
    let four = bytes.get(at..).and_then(|b| b.first_chunk()).ok_or("a page is cut short")?;
    Ok(u32::from_le_bytes(*four))
}

/// Runs of equal and of bit-packed values: levels, indices into a dictionary, booleans.
#[derive(Clone, Default)]
struct Hybrid {
    at: usize,
    end: usize,
    width: u32,
    /// Values left of the current run.
    left: u64,
    /// The value of a run of equal ones.
    value: Option<u32>,
    bit: usize,
}

impl Hybrid {
    fn new(at: usize, end: usize, width: u32) -> Hybrid {
        Hybrid { at, end, width, ..Hybrid::default() }
    }

    fn next(&mut self, bytes: &[u8]) -> Result<u32, String> {
        if self.left == 0 {
            self.run(bytes)?;
        }
        self.left -= 1;
        if let Some(value) = self.value {
            return Ok(value);
        }
        let value = packed(bytes, self.at, self.bit, self.width)? as u32;
        self.bit += self.width as usize;
        if self.left == 0 {
            self.at += self.bit.div_ceil(8);
        }
        Ok(value)
    }

    fn run(&mut self, bytes: &[u8]) -> Result<(), String> {
        let head = varint(bytes, &mut self.at)?;
        self.left = if head & 1 == 1 { (head >> 1).saturating_mul(8) } else { head >> 1 };
        if self.at > self.end || self.left == 0 {
            return Err("a run of values is cut short".into());
        }
        self.bit = 0;
        self.value = None;
        if head & 1 == 0 {
            let len = self.width.div_ceil(8) as usize;
            let value = bytes.get(self.at..self.at + len).ok_or("a run of values is cut short")?;
            self.value = Some(value.iter().rev().fold(0, |v, b| v << 8 | u32::from(*b)));
            self.at += len;
        }
        Ok(())
    }
}

/// `width` bits of the stream that begins at byte `at`, from bit `bit` of it on, the lowest first.
fn packed(bytes: &[u8], at: usize, bit: usize, width: u32) -> Result<u64, String> {
    let (first, shift) = (at + bit / 8, bit % 8);
    let len = (shift + width as usize).div_ceil(8);
    let slice = bytes.get(first..first + len).ok_or("a run of values is cut short")?;
    let all = slice.iter().rev().fold(0u128, |v, b| v << 8 | u128::from(*b));
    Ok((all >> shift & ((1u128 << width) - 1)) as u64)
}

fn varint(bytes: &[u8], at: &mut usize) -> Result<u64, String> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at).ok_or("a page is cut short")?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number is too long".into())
}

fn zigzag(bytes: &[u8], at: &mut usize) -> Result<i64, String> {
    let n = varint(bytes, at)?;
    Ok((n >> 1) as i64 ^ -((n & 1) as i64))
}

/// `DELTA_BINARY_PACKED`: differences in blocks of miniblocks.
fn deltas(bytes: &[u8], at: &mut usize, most: i64) -> Result<Vec<i64>, String> {
    let block = varint(bytes, at)?;
    let miniblocks = varint(bytes, at)?;
    let count = varint(bytes, at)?;
    let mut value = zigzag(bytes, at)?;
    let per = block.checked_div(miniblocks).unwrap_or(0);
    if count > most as u64 || per == 0 || per % 8 != 0 || per > 1 << 20 || miniblocks > 1 << 12 {
        return Err("deltas in blocks of a wrong size".into());
    }
    let mut values = Vec::new();
    if count > 0 {
        values.push(value);
    }
    while (values.len() as u64) < count {
        let min = zigzag(bytes, at)?;
        let widths = bytes.get(*at..*at + miniblocks as usize).ok_or("a page is cut short")?.to_vec();
        *at += miniblocks as usize;
        for width in widths {
            if values.len() as u64 == count {
                break;
            }
            if width > 64 {
                return Err("deltas of more than 64 bits".into());
            }
            let n = per.min(count - values.len() as u64) as usize;
            for i in 0..n {
                let delta = packed(bytes, *at, i * width as usize, u32::from(width))?;
                value = value.wrapping_add(min).wrapping_add(delta as i64);
                values.push(value);
            }
            *at += per as usize / 8 * width as usize;
        }
    }
    Ok(values)
}

impl Values {
    fn new(encoding: i64, bytes: &[u8], mut at: usize, count: i64, kind: Kind) -> Result<Values, String> {
        let start = at;
        Ok(match encoding {
            0 => Values::Plain { at, bit: 0 },
            2 | 8 => match bytes.get(at) {
                Some(width @ 0..=32) => Values::Dictionary(Hybrid::new(at + 1, bytes.len(), u32::from(*width))),
                Some(width) => return Err(format!("indices of {width} bits")),
                None => Values::None, // a page of nulls
            },
            3 if kind == Kind::Boolean => Values::Boolean(Hybrid::new(at + 4, bytes.len(), 1)),
            5 => Values::Integers(deltas(bytes, &mut at, count)?.into_iter()),
            6 | 7 if start == bytes.len() => Values::None,
            6 => {
                let lengths = deltas(bytes, &mut at, count)?.into_iter();
                Values::Strings { at, lengths, prefixes: None, last: Vec::new() }
            }
            7 => {
                let prefixes = Some(deltas(bytes, &mut at, count)?.into_iter());
                let lengths = deltas(bytes, &mut at, count)?.into_iter();
                Values::Strings { at, lengths, prefixes, last: Vec::new() }
            }
            other => {
                return Err(format!("encoding {other} is not supported; write it with plain or dictionary encoding"));
            }
        })
    }
}

impl Page {
    fn value(&mut self, kind: Kind, dictionary: &[Value]) -> Result<Value, String> {
        let bytes = &self.bytes;
        match &mut self.values {
            Values::None => Err("a page is cut short".into()),
            Values::Plain { at, bit } => plain_value(bytes, at, bit, kind),
            Values::Dictionary(indices) => {
                let index = indices.next(bytes)? as usize;
                dictionary.get(index).cloned().ok_or_else(|| format!("index {index} is outside of its dictionary"))
            }
            Values::Boolean(bits) => Ok((bits.next(bytes)? == 1).into()),
            Values::Integers(values) => Ok(integer(kind, values.next().ok_or("a page is cut short")?)),
            Values::Strings { at, lengths, prefixes, last } => {
                let len = lengths.next().ok_or("a page is cut short")?;
                let prefix = prefixes.as_mut().map_or(Ok(0), |p| p.next().ok_or("a page is cut short"))?;
                let (len, prefix) = (usize::try_from(len), usize::try_from(prefix));
                let (Ok(len), Ok(prefix)) = (len, prefix) else { return Err("a string of negative length".into()) };
                let end = at.checked_add(len).filter(|end| *end <= bytes.len()).ok_or("a string is cut short")?;
                if prefix > last.len() || prefix.saturating_add(len) > super::MAX_RECORD {
                    return Err("a string has a wrong prefix".into());
                }
                last.truncate(prefix);
                last.extend_from_slice(&bytes[*at..end]);
                *at = end;
                text(last, kind)
            }
        }
    }
}

fn plain_value(bytes: &[u8], at: &mut usize, bit: &mut u8, kind: Kind) -> Result<Value, String> {
    let mut next = |len: usize| {
        let end = at.checked_add(len).filter(|end| *end <= bytes.len()).ok_or("a page is cut short")?;
        let slice = &bytes[*at..end];
        *at = end;
        Ok::<&[u8], String>(slice)
    };
    Ok(match kind {
        Kind::Boolean => {
            let byte = *bytes.get(*at).ok_or("a page is cut short")?;
            let value = byte >> *bit & 1 == 1;
            *bit = (*bit + 1) % 8;
            *at += usize::from(*bit == 0);
            value.into()
        }
        Kind::Int32 { .. } => integer(kind, i64::from(u32_at(next(4)?, 0)? as i32)),
        Kind::Int64 { .. } => integer(kind, next(8)?.try_into().map(i64::from_le_bytes).unwrap_or(0)),
        Kind::Float => f64::from(f32::from_bits(u32_at(next(4)?, 0)?)).into(),
        Kind::Double => next(8)?.try_into().map(f64::from_le_bytes).unwrap_or(0.0).into(),
        Kind::Bytes { .. } => {
            let len = u32_at(next(4)?, 0)? as usize;
            text(next(len)?, kind)?
        }
        Kind::Opaque(len) => {
            next(len)?;
            Value::Null
        }
    })
}

fn integer(kind: Kind, value: i64) -> Value {
    match kind {
        Kind::Int32 { signed: false } => (value as u32).into(),
        Kind::Int64 { signed: false } => (value as u64).into(),
        Kind::Int32 { .. } => (value as i32).into(),
        _ => value.into(),
    }
}

/// Bytes as a string. Those of no text, an image for example, have no place in a record and are absent.
fn text(bytes: &[u8], kind: Kind) -> Result<Value, String> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.into()),
        Err(_) if kind == (Kind::Bytes { text: false }) => Ok(Value::Null),
        Err(e) => Err(format!("a string is not UTF-8: {e}")),
    }
}
