//! Reads records from data files: JSON Lines, a JSON array, CSV, TSV or Parquet; plain or compressed with gzip or zstd.
//!
//! Files are read record by record in bounded memory. Files are untrusted, so the size of a record and the decompressed
//! size of a file are limited.

mod parquet;
mod sink;

use self::sink::{MAX_RECORD, RecordSink, data_error};
use crate::error::Error;
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;
use std::rc::Rc;

/// A compressed file may always decompress to this size.
const FREE_GROWTH: u64 = 1 << 30;
/// Above `FREE_GROWTH`, it may decompress to this multiple of its compressed size. Text compresses about 10 times,
/// rarely 100 times.
const MAX_RATIO: u64 = 256;

/// The layout of a file, determined by its name without `.gz` or `.zst`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One JSON object per line.
    JsonLines,
    /// One JSON array of objects, or concatenated objects.
    Json,
    /// Comma-separated values with a header row.
    Csv,
    /// Tab-separated values with a header row.
    Tsv,
    /// Parquet.
    Parquet,
    /// Anything else.
    Text,
}

impl Layout {
    /// Determines the layout from the file name.
    pub fn of(path: &Path) -> Layout {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let compressed = [".gz", ".gzip", ".zst", ".zstd"].iter().find_map(|end| name.strip_suffix(end));
        match compressed.unwrap_or(&name).rsplit_once('.').map_or("", |(_, ending)| ending) {
            "jsonl" | "ndjson" => Layout::JsonLines,
            "json" => Layout::Json,
            "csv" => Layout::Csv,
            "tsv" => Layout::Tsv,
            "parquet" => Layout::Parquet,
            _ => Layout::Text,
        }
    }
}

/// Calls `f` with every record of a file and its line number (row number for Parquet), starting at 1. An error from `f`
/// becomes an error with the file and line. Files of unknown type are read as JSON Lines.
pub fn records(path: &Path, mut f: impl FnMut(usize, Value) -> Result<(), String>) -> Result<(), Error> {
    match Layout::of(path) {
        Layout::Parquet => parquet::rows(path, &mut f),
        Layout::Csv => separated(path, b',', &mut f),
        Layout::Tsv => separated(path, b'\t', &mut f),
        Layout::Json => json(path, &mut f),
        Layout::JsonLines | Layout::Text => json_lines(path, &mut f),
    }
}

/// Opens a file for reading. Decompresses it and skips a byte order mark.
pub fn open(path: &Path) -> Result<Box<dyn BufRead>, Error> {
    let reader = || -> io::Result<Box<dyn BufRead>> {
        let mut file = meno_model::input::open(path)?;
        let mut magic = Vec::new();
        file.by_ref().take(4).read_to_end(&mut magic)?;
        file.rewind()?;
        let limit = file.metadata()?.len().saturating_mul(MAX_RATIO).max(FREE_GROWTH);
        let file = BufReader::with_capacity(1 << 16, file);
        let mut reader: Box<dyn BufRead> = match magic[..] {
            [0x1f, 0x8b, ..] => Box::new(BufReader::new(LimitedReader { inner: MultiGzDecoder::new(file), limit })),
            [0x28, 0xb5, 0x2f, 0xfd] => Box::new(BufReader::new(LimitedReader { inner: ZstdReader::new(file), limit })),
            _ => Box::new(file),
        };
        match reader.fill_buf()? {
            [0xef, 0xbb, 0xbf, ..] => reader.consume(3),
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Err(invalid("the text is UTF-16; save it as UTF-8".into())),
            _ => {}
        }
        Ok(reader)
    };
    reader().map_err(Error::io(path))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// A decompressor with a limit on its output.
struct LimitedReader<R> {
    inner: R,
    limit: u64,
}

impl<R: Read> Read for LimitedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.limit = self.limit.checked_sub(n as u64).ok_or_else(|| {
            invalid(format!(
                "decompresses to more than {MAX_RATIO} times its size; decompress it first if that is intended"
            ))
        })?;
        Ok(n)
    }
}

/// Decodes the concatenated frames of a zstd file.
struct ZstdReader {
    source: BufReader<File>,
    frame: FrameDecoder,
    in_frame: bool,
}

impl ZstdReader {
    fn new(source: BufReader<File>) -> ZstdReader {
        ZstdReader { source, frame: FrameDecoder::new(), in_frame: false }
    }

    /// Starts the next frame; returns `false` at the end of the file.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.frame.init(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    io::copy(&mut self.source.by_ref().take(u64::from(length)), &mut io::sink())?;
                }
                Err(e) => return Err(invalid(format!("corrupt zstd data: {e}"))),
            }
        }
        Ok(false)
    }
}

impl Read for ZstdReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !buffer.is_empty() {
            if !self.in_frame {
                self.in_frame = self.next_frame()?;
                if !self.in_frame {
                    return Ok(0);
                }
            }
            while self.frame.can_collect() == 0 && !self.frame.is_finished() {
                let some = BlockDecodingStrategy::UptoBytes(buffer.len());
                let blocks = self.frame.decode_blocks(&mut self.source, some);
                blocks.map_err(|e| invalid(format!("corrupt zstd data: {e}")))?;
            }
            match self.frame.read(buffer)? {
                0 => self.in_frame = false,
                n => return Ok(n),
            }
        }
        Ok(0)
    }
}

/// Counts the lines read and the bytes of the current record.
#[derive(Clone, Default)]
struct Position(Rc<(Cell<usize>, Cell<usize>)>);

impl Position {
    fn line(&self) -> usize {
        self.0.0.get() + 1
    }
    fn begin_record(&self) {
        self.0.1.set(0);
    }
}

struct Placed<R> {
    inner: R,
    place: Position,
}

impl<R: Read> Read for Placed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        let (lines, bytes) = &*self.place.0;
        lines.set(lines.get() + buffer[..n].iter().filter(|b| **b == b'\n').count());
        bytes.set(bytes.get() + n);
        if bytes.get() > MAX_RECORD + (1 << 20) {
            return Err(invalid(too_large()));
        }
        Ok(n)
    }
}

fn too_large() -> String {
    format!("a record of more than {} MiB; is a quote or a bracket left open?", MAX_RECORD >> 20)
}

fn json_lines(path: &Path, f: &mut RecordSink) -> Result<(), Error> {
    let mut reader = open(path)?;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = reader.by_ref().take(MAX_RECORD as u64 + 1).read_until(b'\n', &mut line);
        if read.map_err(Error::io(path))? == 0 {
            break;
        }
        let bad = data_error(path, number);
        if line.len() > MAX_RECORD {
            return Err(bad(too_large()));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let value = serde_json::from_slice(&line).map_err(|e| format!("not JSON: {e}"));
        value.and_then(|value| f(number, value)).map_err(bad)?;
    }
    Ok(())
}

/// Parses the elements of an array, or concatenated values, one at a time.
fn json(path: &Path, f: &mut RecordSink) -> Result<(), Error> {
    let mut reader = open(path)?;
    let place = Position::default();
    let leading = skip_space(&mut reader).map_err(Error::io(path))?;
    place.0.0.set(leading);
    let array = reader.fill_buf().map_err(Error::io(path))?.first() == Some(&b'[');
    let mut deserializer = serde_json::Deserializer::from_reader(Placed { inner: reader, place: place.clone() });
    let mut refused = None;
    let mut element = Element { f, place: place.clone(), refused: &mut refused };
    let result = if array {
        deserializer.deserialize_seq(&mut element).and_then(|()| deserializer.end())
    } else {
        let mut values = deserializer.into_iter::<Value>();
        loop {
            place.begin_record();
            match values.next() {
                None => break Ok(()),
                Some(Err(e)) => break Err(e),
                Some(Ok(value)) => {
                    if let Err(e) = element.hand_over(place.line(), value) {
                        break Err(e);
                    }
                }
            }
        }
    };
    match (result, refused) {
        (_, Some((line, message))) => Err(data_error(path, line)(message)),
        (Err(e), None) if e.is_io() => Err(data_error(path, place.line())(e.to_string())),
        (Err(e), None) => Err(data_error(path, place.line())(format!("not JSON: {e}"))),
        (Ok(()), None) => Ok(()),
    }
}

fn skip_space(reader: &mut dyn BufRead) -> io::Result<usize> {
    let mut lines = 0;
    loop {
        let buffer = reader.fill_buf()?;
        let space = buffer.iter().take_while(|b| b.is_ascii_whitespace()).count();
        lines += buffer[..space].iter().filter(|b| **b == b'\n').count();
        let done = space < buffer.len() || buffer.is_empty();
        reader.consume(space);
        if done {
            return Ok(lines);
        }
    }
}

/// Passes the elements of an array on one at a time.
struct Element<'a, 'b> {
    f: &'a mut RecordSink<'b>,
    place: Position,
    refused: &'a mut Option<(usize, String)>,
}

impl Element<'_, '_> {
    fn hand_over<E: serde::de::Error>(&mut self, line: usize, value: Value) -> Result<(), E> {
        (self.f)(line, value).map_err(|message| {
            *self.refused = Some((line, message));
            E::custom("refused")
        })
    }
}

impl<'de> Visitor<'de> for &mut Element<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(&mut *self)?.is_some() {}
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for &mut Element<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let line = self.place.line();
        self.place.begin_record();
        let value = <Value as serde::Deserialize>::deserialize(deserializer)?;
        self.hand_over(line, value)
    }
}

/// Reads CSV or TSV with a header row. Empty cells become absent keys.
fn separated(path: &Path, delimiter: u8, f: &mut RecordSink) -> Result<(), Error> {
    let place = Position::default();
    let placed = Placed { inner: open(path)?, place: place.clone() };
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(placed);
    let fail = |e: csv::Error, place: &Position| match e.position() {
        Some(at) => data_error(path, at.line() as usize)(e.to_string()),
        None => data_error(path, place.line())(e.to_string()),
    };
    let header = reader.headers().map_err(|e| fail(e, &place))?.clone();
    for (i, name) in header.iter().enumerate() {
        if header.iter().take(i).any(|earlier| earlier == name) {
            return Err(data_error(path, 1)(format!("two columns have the name `{name}`")));
        }
    }
    // After "\r
    // ", the CSV reader reports the line before as the start of the record.
    let within: usize = header.iter().map(|name| name.matches('\n').count()).sum();
    let behind = (within + 2).saturating_sub(reader.position().line() as usize);
    let mut row = csv::StringRecord::new();
    loop {
        place.begin_record();
        if !reader.read_record(&mut row).map_err(|e| fail(e, &place))? {
            return Ok(());
        }
        let line = row.position().map_or(0, |p| p.line() as usize + behind);
        let cells = header.iter().zip(&row).filter(|(_, cell)| !cell.is_empty());
        let value: Map<String, Value> = cells.map(|(name, cell)| (name.to_owned(), cell.into())).collect();
        f(line, value.into()).map_err(data_error(path, line))?;
    }
}
