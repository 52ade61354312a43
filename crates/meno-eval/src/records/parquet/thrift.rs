//! Thrift's compact protocol, limited to what Parquet's metadata needs. Structs become maps from field number to value.

use std::collections::BTreeMap;

/// Maximum nesting depth of structs and lists.
const MAX_DEPTH: usize = 32;

/// A value of the metadata.
#[derive(Clone, Debug)]
pub(super) enum Thrift {
    Bool(bool),
    Int(i64),
    Double,
    Bytes(Vec<u8>),
    List(Vec<Thrift>),
    Struct(BTreeMap<i16, Thrift>),
}

impl Thrift {
    /// Field `id` of a struct.
    pub(super) fn field(&self, id: i16) -> Option<&Thrift> {
        match self {
            Thrift::Struct(fields) => fields.get(&id),
            _ => None,
        }
    }

    pub(super) fn int(&self, id: i16) -> Option<i64> {
        match self.field(id) {
            Some(Thrift::Int(value)) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn list(&self, id: i16) -> &[Thrift] {
        match self.field(id) {
            Some(Thrift::List(items)) => items,
            _ => &[],
        }
    }

    pub(super) fn text(&self, id: i16) -> Option<String> {
        match self.field(id) {
            Some(Thrift::Bytes(bytes)) => String::from_utf8(bytes.clone()).ok(),
            _ => None,
        }
    }
}

/// Reads values from the front of a slice.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, at: 0 }
    }

    /// Number of bytes read so far.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    fn byte(&mut self) -> Result<u8, String> {
        let byte = *self.bytes.get(self.at).ok_or("its metadata is cut short")?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("its metadata holds a number that is too long".into())
    }

    fn zigzag(&mut self) -> Result<i64, String> {
        let n = self.varint()?;
        Ok((n >> 1) as i64 ^ -((n & 1) as i64))
    }

    fn binary(&mut self) -> Result<Vec<u8>, String> {
        let len = self.varint()? as usize;
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len()).ok_or("its metadata is cut short")?;
        let bytes = self.bytes[self.at..end].to_vec();
        self.at = end;
        Ok(bytes)
    }

    /// Reads a struct up to its stop field.
    pub(super) fn read_struct(&mut self) -> Result<Thrift, String> {
        self.fields(0)
    }

    fn fields(&mut self, depth: usize) -> Result<Thrift, String> {
        if depth > MAX_DEPTH {
            return Err("its metadata is nested too deeply".into());
        }
        let mut fields = BTreeMap::new();
        let mut id = 0i16;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(Thrift::Struct(fields));
            }
            id = match head >> 4 {
                0 => self.zigzag()? as i16,
                delta => id.wrapping_add(i16::from(delta)),
            };
            let value = match head & 0xf {
                1 => Thrift::Bool(true),
                2 => Thrift::Bool(false),
                kind => self.value(kind, depth)?,
            };
            fields.insert(id, value);
        }
    }

    fn value(&mut self, kind: u8, depth: usize) -> Result<Thrift, String> {
        Ok(match kind {
            1 | 2 => Thrift::Bool(self.byte()? == 1),
            3 => Thrift::Int(i64::from(self.byte()? as i8)),
            4..=6 => Thrift::Int(self.zigzag()?),
            7 => {
                (0..8).try_for_each(|_| self.byte().map(drop))?;
                Thrift::Double
            }
            8 => Thrift::Bytes(self.binary()?),
            9 | 10 => {
                let head = self.byte()?;
                let len = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                if depth > MAX_DEPTH {
                    return Err("its metadata is nested too deeply".into());
                }
                // Every element takes at least one byte, so the list cannot outgrow the metadata.
                let mut items = Vec::new();
                for _ in 0..len {
                    items.push(self.value(head & 0xf, depth + 1)?);
                }
                Thrift::List(items)
            }
            12 => self.fields(depth + 1)?,
            other => return Err(format!("its metadata has a field of unknown type {other}")),
        })
    }
}
