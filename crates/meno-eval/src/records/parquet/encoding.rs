//! Decodes the encodings of values and levels, on demand.

use serde_json::Value;

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
    /// A byte array; `text` if the schema declares it UTF-8.
    Bytes {
        text: bool,
    },
    /// A value of this many bytes that represents neither text nor a number.
    Opaque(usize),
}

/// The encoding of a page's values, with the decoder's state.
#[derive(Default)]
pub(super) enum Values {
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

/// The RLE/bit-packing hybrid: levels, dictionary indices, booleans.
#[derive(Clone, Default)]
pub(super) struct Hybrid {
    at: usize,
    end: usize,
    width: u32,
    /// Values left in the current run.
    left: u64,
    /// The repeated value, in an RLE run.
    value: Option<u32>,
    bit: usize,
}

impl Hybrid {
    pub(super) fn new(at: usize, end: usize, width: u32) -> Hybrid {
        Hybrid { at, end, width, ..Hybrid::default() }
    }

    pub(super) fn next(&mut self, bytes: &[u8]) -> Result<u32, String> {
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

/// Reads `width` bits, lowest bit first, from bit `bit` of the stream that starts at byte `at`.
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

/// Decodes `DELTA_BINARY_PACKED`: differences in blocks of miniblocks.
fn deltas(bytes: &[u8], at: &mut usize, most: i64) -> Result<Vec<i64>, String> {
    let block = varint(bytes, at)?;
    let miniblocks = varint(bytes, at)?;
    let count = varint(bytes, at)?;
    let mut value = zigzag(bytes, at)?;
    let per = block.checked_div(miniblocks).unwrap_or(0);
    if count > most as u64 || per == 0 || per % 8 != 0 || per > 1 << 20 || miniblocks > 1 << 12 {
        return Err("delta blocks of an invalid size".into());
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
    pub(super) fn new(encoding: i64, bytes: &[u8], mut at: usize, count: i64, kind: Kind) -> Result<Values, String> {
        let start = at;
        Ok(match encoding {
            0 => Values::Plain { at, bit: 0 },
            2 | 8 => match bytes.get(at) {
                Some(width @ 0..=32) => Values::Dictionary(Hybrid::new(at + 1, bytes.len(), u32::from(*width))),
                Some(width) => return Err(format!("indices of {width} bits")),
                None => Values::None, // a page that holds only nulls
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

    /// Decodes the next value; `bytes` is the data of its page.
    pub(super) fn next(&mut self, bytes: &[u8], kind: Kind, dictionary: &[Value]) -> Result<Value, String> {
        match self {
            Values::None => Err("a page is cut short".into()),
            Values::Plain { at, bit } => plain_value(bytes, at, bit, kind),
            Values::Dictionary(indices) => {
                let index = indices.next(bytes)? as usize;
                dictionary.get(index).cloned().ok_or_else(|| format!("index {index} is outside its dictionary"))
            }
            Values::Boolean(bits) => Ok((bits.next(bytes)? == 1).into()),
            Values::Integers(values) => Ok(integer(kind, values.next().ok_or("a page is cut short")?)),
            Values::Strings { at, lengths, prefixes, last } => {
                let len = lengths.next().ok_or("a page is cut short")?;
                let prefix = prefixes.as_mut().map_or(Ok(0), |p| p.next().ok_or("a page is cut short"))?;
                let (len, prefix) = (usize::try_from(len), usize::try_from(prefix));
                let (Ok(len), Ok(prefix)) = (len, prefix) else { return Err("a string of negative length".into()) };
                let end = at.checked_add(len).filter(|end| *end <= bytes.len()).ok_or("a string is cut short")?;
                if prefix > last.len() || prefix.saturating_add(len) > crate::records::sink::MAX_RECORD {
                    return Err("a string has an invalid prefix".into());
                }
                last.truncate(prefix);
                last.extend_from_slice(&bytes[*at..end]);
                *at = end;
                text(last, kind)
            }
        }
    }
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Result<u32, String> {
    let four = bytes.get(at..).and_then(|b| b.first_chunk()).ok_or("a page is cut short")?;
    Ok(u32::from_le_bytes(*four))
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

/// Converts bytes to a string. Bytes that are not text (an image, for example) become null and so drop out of the
/// record.
fn text(bytes: &[u8], kind: Kind) -> Result<Value, String> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.into()),
        Err(_) if kind == (Kind::Bytes { text: false }) => Ok(Value::Null),
        Err(e) => Err(format!("a string is not UTF-8: {e}")),
    }
}
