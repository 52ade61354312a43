//! JSON files that are complete or absent.

use meno_train::Error;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// The largest file that is read, in bytes. Traces are the largest, with some kilobytes each.
const MAX_BYTES: u64 = 4 << 30;

/// Reads a JSON file; `None` if it does not exist.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let bytes = match meno_model::input::read(path, MAX_BYTES) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(Error::io(path))?,
    };
    let unreadable = |e: serde_json::Error| Error::Checkpoint {
        path: path.to_owned(),
        message: format!("cannot be read: {e}; remove it to run its stage again"),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(unreadable)
}

/// Writes a JSON file under a temporary name and renames it, so that it is never seen half written.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let temp = path.with_extension("json.tmp");
    let json = serde_json::to_vec_pretty(value).expect("invariant: records are plain data");
    let mut file = File::create(&temp).map_err(Error::io(&temp))?;
    file.write_all(&json).and_then(|()| file.sync_all()).map_err(Error::io(&temp))?;
    std::fs::rename(&temp, path).map_err(Error::io(path))
}
