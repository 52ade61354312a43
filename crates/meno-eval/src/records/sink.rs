//! The callback that receives records, its errors, and the size limit of a record.

use crate::error::Error;
use serde_json::Value;
use std::path::Path;

/// Maximum size of a record in bytes.
pub(super) const MAX_RECORD: usize = 64 << 20;

/// Receives each record with its line or row number.
pub(super) type RecordSink<'a> = dyn FnMut(usize, Value) -> Result<(), String> + 'a;

pub(super) fn data_error(path: &Path, line: usize) -> impl FnOnce(String) -> Error + '_ {
    move |message| Error::Data { path: path.to_owned(), line, message }
}
