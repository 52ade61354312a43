//! Reads one column of a row group: pages, levels, encodings. Values are decoded on demand, so memory holds one page
//! and one dictionary, whatever size a page claims.

use super::encoding::{Hybrid, Kind, Values, u32_at};
use super::thrift::{Reader, Thrift};
use flate2::read::MultiGzDecoder;
use ruzstd::decoding::FrameDecoder;
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// Maximum number of columns in a file.
pub(super) const MAX_COLUMNS: usize = 1024;
/// Maximum size of a page in bytes, compressed or not. Every column holds one page, so the limit is 2 GiB divided by
/// the number of columns, clamped to these bounds. Writers make pages of 1 MiB, larger ones only for a large value.
const MIN_PAGE: usize = 4 << 20;
const MAX_PAGE: usize = 256 << 20;
/// Maximum number of values in a page.
const MAX_VALUES: i64 = 1 << 24;
/// Maximum size of a page header in bytes.
const MAX_HEADER: usize = 1 << 20;

/// The type and levels of a leaf column.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) max_def: u32,
    pub(super) max_rep: u32,
}

/// A repetition level, a definition level and, at the highest definition level, a value.
pub(super) struct Entry {
    pub(super) rep: u32,
    pub(super) def: u32,
    pub(super) value: Value,
}

/// The read state of a column chunk.
pub(super) struct Column<'a> {
    leaf: &'a Leaf,
    file: &'a File,
    at: u64,
    end: u64,
    codec: i64,
    max_page: usize,
    /// Values left in the chunk, including the current page.
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

impl<'a> Column<'a> {
    /// Opens the column of a `ColumnChunk`.
    pub(super) fn new(leaf: &'a Leaf, file: &'a File, chunk: &Thrift, columns: usize) -> Result<Self, String> {
        let max_page = ((2 << 30) / columns.max(1)).clamp(MIN_PAGE, MAX_PAGE);
        let meta = chunk.field(3).ok_or("a column has no metadata")?;
        if chunk.text(1).is_some_and(|path| !path.is_empty()) {
            return Err("its columns are stored in other files".into());
        }
        let at =
            meta.int(11).into_iter().chain(meta.int(9)).filter(|o| *o > 0).min().ok_or("a column has no offset")?;
        let size = meta.int(7).filter(|s| *s >= 0).ok_or("a column has no size")?;
        let end = (at as u64).saturating_add(size as u64);
        let (codec, left) = (meta.int(4).unwrap_or(0), meta.int(5).unwrap_or(0));
        let (dictionary, page, ahead) = (Vec::new(), Page::default(), None);
        Ok(Column { leaf, file, at: at as u64, end, codec, max_page, left, dictionary, page, ahead })
    }

    /// Returns the next entry without consuming it; `None` at the end of the chunk.
    pub(super) fn peek(&mut self) -> Result<Option<&Entry>, String> {
        if self.ahead.is_none() {
            self.ahead = self.entry().map_err(|e| format!("column `{}`: {e}", self.leaf.name))?;
        }
        Ok(self.ahead.as_ref())
    }

    /// Consumes the next entry.
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
        let value = if def == self.leaf.max_def {
            page.values.next(&page.bytes, self.leaf.kind, &self.dictionary)?
        } else {
            Value::Null
        };
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
            return Err("has fewer values than it declares".into());
        }
        let start = self.at;
        // Most headers are short. A header with long statistics is read a second time with a larger buffer.
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
            Some(n) if (0..=self.max_page as i64).contains(&n) => Ok(n as usize),
            other => Err(format!("a page of {other:?} bytes; at most {} are supported", self.max_page)),
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
        let mut values = Values::Plain { at: 0, bit: 0 };
        let count = values_of(header)?;
        self.dictionary.clear();
        for _ in 0..count {
            self.dictionary.push(values.next(&bytes, self.leaf.kind, &[])?);
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
                return Err("its levels use the deprecated BIT_PACKED encoding".to_owned());
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
        other => Err(format!("a page of {other:?} values; at most {MAX_VALUES} are supported")),
    }
}

/// Number of bits for levels up to `max`.
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
                return Err("the size of a page differs from its header".into());
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
        return Err("the size of a page differs from its header".into());
    }
    Ok(out)
}
