//! TensorBoard's file format: records with checksums (TensorFlow's TFRecord) around protocol-buffer messages.
//!
//! A record is the length of its data (u64, little-endian), the masked CRC-32C of these eight bytes, the data, and the
//! masked CRC-32C of the data. The data is a `tensorflow.Event`: `wall_time` (field 1, double), `step` (2, int64) and
//! one of `file_version` (3, string), `summary` (5) and `session_log` (7). A `Summary` repeats `value` (1), each with a
//! `tag` (1, string) and a `simple_value` (2, float).

use std::borrow::Cow;

/// One event.
pub(super) struct Event<'a> {
    /// Seconds since 1970.
    pub(super) wall_time: f64,
    /// The step it belongs to.
    pub(super) step: usize,
    /// Its content.
    pub(super) what: What<'a>,
}

/// The content of an event.
pub(super) enum What<'a> {
    /// The first event of every file.
    Version,
    /// A run resumes: earlier events of this and later steps are invalid.
    Start,
    /// Tag and value.
    Scalars(Vec<(Cow<'a, str>, f32)>),
}

/// Wire types of protocol buffers.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;

impl Event<'_> {
    /// Encodes the message.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        key(&mut out, 1, FIXED64);
        out.extend(self.wall_time.to_le_bytes());
        if self.step > 0 {
            key(&mut out, 2, VARINT);
            varint(&mut out, self.step as u64);
        }
        match &self.what {
            What::Version => bytes(&mut out, 3, b"brain.Event:2"),
            // SessionLog { status: START }.
            What::Start => bytes(&mut out, 7, &[1 << 3 | VARINT, 1]),
            What::Scalars(values) => bytes(&mut out, 5, &summary(values)),
        }
        out
    }
}

fn summary(values: &[(Cow<'_, str>, f32)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (tag, value) in values {
        let mut one = Vec::new();
        bytes(&mut one, 1, tag.as_bytes());
        key(&mut one, 2, FIXED32);
        one.extend(value.to_le_bytes());
        bytes(&mut out, 1, &one);
    }
    out
}

fn key(out: &mut Vec<u8>, field: u8, wire: u8) {
    out.push(field << 3 | wire);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn bytes(out: &mut Vec<u8>, field: u8, data: &[u8]) {
    key(out, field, BYTES);
    varint(out, data.len() as u64);
    out.extend(data);
}

/// Wraps data in a record.
pub(super) fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length).to_le_bytes(), data, &masked_crc(data).to_le_bytes()].concat()
}

/// Returns the complete records of a file, each with its end position; stops at the first that is truncated or damaged.
pub(super) fn records(file: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (length, rest) = file.get(at..)?.split_first_chunk::<8>()?;
        let (check, rest) = rest.split_first_chunk::<4>()?;
        let size = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let data = rest.get(..size).filter(|_| masked_crc(length).to_le_bytes() == *check)?;
        let (check, _) = rest[size..].split_first_chunk::<4>()?;
        at += 16 + size;
        (masked_crc(data).to_le_bytes() == *check).then_some((at, data))
    })
}

/// The parts of an event that a reader needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// Its step; 0 if missing.
    pub(super) step: u64,
    /// True if it has scalar values.
    pub(super) scalars: bool,
}

/// Decodes an event; `None` if the data is not a valid message.
pub(super) fn read(mut event: &[u8]) -> Option<Read> {
    let mut read = Read::default();
    while let Some((&key, rest)) = event.split_first() {
        read.scalars |= key >> 3 == 5;
        event = match key & 7 {
            VARINT => {
                let (value, rest) = read_varint(rest)?;
                if key >> 3 == 2 {
                    read.step = value;
                }
                rest
            }
            FIXED64 => rest.get(8..)?,
            FIXED32 => rest.get(4..)?,
            BYTES => {
                let (size, rest) = read_varint(rest)?;
                rest.get(usize::try_from(size).ok()?..)?
            }
            _ => return None,
        };
    }
    Some(read)
}

fn read_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let last = bytes.iter().take(10).position(|b| b & 0x80 == 0)?;
    let value = bytes[..=last].iter().rev().fold(0, |value: u64, b| value << 7 | u64::from(b & 0x7f));
    Some((value, &bytes[last + 1..]))
}

/// The lookup table of CRC-32C (Castagnoli, reflected polynomial 0x82f63b78), for one byte at a time.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let (mut crc, mut bit) = (i as u32, 0);
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

/// CRC-32C, rotated and offset, so that the checksum of data that contains checksums is still strong.
fn masked_crc(data: &[u8]) -> u32 {
    let crc = !data.iter().fold(!0, |crc: u32, b| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ b)]);
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same events written by tensorboard's own writer: `dev/reference/tensorboard_events.py`.
    const GOLDEN: &[u8] = include_bytes!("../../tests/golden/events.tfevents");

    #[test]
    fn bytes_are_those_of_tensorboards_writer() {
        let event = |wall_time, step, what| record(&Event { wall_time, step, what }.encode());
        let scalars = |values: &[(&'static str, f32)]| {
            What::Scalars(values.iter().map(|&(tag, value)| (tag.into(), value)).collect())
        };
        let bytes = [
            event(1_700_000_000.25, 0, What::Version),
            event(1_700_000_001.5, 1, scalars(&[("train/loss", 2.5), ("train/completions/mean_length", 131.0)])),
            event(1_700_000_002.5, 8, What::Start),
            event(1_700_000_003.5, 300, scalars(&[("eval/pass1", 0.0), ("train/grad_norm", f32::NAN)])),
            event(1_700_000_004.5, 301, scalars(&[])),
        ]
        .concat();
        assert_eq!(bytes, GOLDEN);
    }

    #[test]
    fn a_golden_file_is_read_back() {
        let events: Vec<_> = records(GOLDEN).map(|(_, data)| read(data)).collect();
        let expected = [(0, false), (1, true), (8, false), (300, true), (301, true)];
        assert_eq!(events, expected.map(|(step, scalars)| Some(Read { step, scalars })));
        assert_eq!(records(GOLDEN).last().unwrap().0, GOLDEN.len());
        // Truncated anywhere, only complete records are found, and nothing panics.
        for end in 0..GOLDEN.len() {
            assert!(records(&GOLDEN[..end]).all(|(at, _)| at <= end));
            let _ = read(&GOLDEN[end..]);
        }
        let huge = [&u64::MAX.to_le_bytes()[..], &masked_crc(&u64::MAX.to_le_bytes()).to_le_bytes(), &[0; 9]].concat();
        assert_eq!(records(&huge).count(), 0);
    }
}
