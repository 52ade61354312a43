//! `checksums.json` of a checkpoint: length and SHA-256 of every other file, so that a flipped bit is detected before a
//! run continues from it.

use crate::data::fingerprint::Fingerprint;
use crate::error::Error;
use crate::gather;
use meno_comm::Communicator;
use meno_model::input;
use std::path::Path;

/// The file's name.
pub(super) const FILE: &str = "checksums.json";

/// Writes the checksums of all files in `dir`. All ranks call it; each reads some of the files.
pub(crate) fn write(dir: &Path, comm: &dyn Communicator) -> Result<(), Error> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(Error::io(dir))? {
        let entry = entry.map_err(Error::io(dir))?;
        let bytes = entry.metadata().map_err(Error::io(&entry.path()))?.len();
        files.push((std::cmp::Reverse(bytes), entry.path()));
    }
    files.sort();
    let own = files.iter().enumerate().skip(comm.rank()).step_by(comm.size()).map(|(i, (_, path))| {
        let sum = Fingerprint::of(path)?;
        Ok((i, Fingerprint { path: path.file_name().unwrap_or_default().into(), ..sum }))
    });
    let own = own.collect::<Result<_, Error>>()?;
    let mut sums: Vec<Fingerprint> = gather::values(comm, own).into_iter().map(|(_, sum)| sum).collect();
    sums.sort_by(|a, b| a.path.cmp(&b.path));
    if comm.is_first() {
        let json = serde_json::to_vec_pretty(&sums).expect("invariant: checksums are plain data");
        let file = dir.join(FILE);
        std::fs::write(&file, json).map_err(Error::io(&file))?;
    }
    Ok(())
}

/// Compares the files of `dir` with their checksums. Returns `false` if there are none, as in checkpoints of older
/// versions.
pub(crate) fn check(dir: &Path) -> Result<bool, Error> {
    let file = dir.join(FILE);
    let json = match input::read(&file, input::SMALL) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        json => json.map_err(Error::io(&file))?,
    };
    let sums: Vec<Fingerprint> =
        serde_json::from_slice(&json).map_err(|e| Error::checkpoint(&file, format!("not a list of checksums: {e}")))?;
    for sum in sums {
        // Only plain file names in this directory are allowed.
        if sum.path.file_name() != Some(sum.path.as_os_str()) {
            return Err(Error::checkpoint(
                &file,
                format!("names {:?}, expected a file in the same directory", sum.path),
            ));
        }
        let path = dir.join(&sum.path);
        let length = std::fs::metadata(&path).map_err(Error::io(&path))?.len();
        if length != sum.bytes {
            return Err(Error::checkpoint(&path, format!("has {length} bytes, but {} were written", sum.bytes)));
        }
        if !Fingerprint::of(&path)?.same(&sum) {
            return Err(Error::checkpoint(
                &path,
                format!("holds other bytes than were written: its SHA-256 is not that in {FILE}"),
            ));
        }
    }
    Ok(true)
}
