//! The callback that receives records, its errors, and the limit on the size of a record.

use crate::error::Error;
use serde_json::Value;
use std::path::Path;

/// Most bytes of one record.
pub(super) const MAX_RECORD: usize = 64 << 20;

/// What takes the records.
pub(super) type RecordSink<'a> = dyn FnMut(usize, Value) -> Result<(), String> + 'a;

pub(super) fn data_error(path: &Path, line: usize) -> impl FnOnce(String) -> Error + '_ {
    move |message| Error::Data { path: path.to_owned(), line, message }
}
