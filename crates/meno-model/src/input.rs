//! Opens files from outside: a regular file of a bounded size, or an immediate error.
//!
//! Opening a FIFO waits for a writer, and reading a device may never end. A model's directory can contain either under
//! the name of any of its files, so every reader of such files opens them with these functions.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

/// Maximum bytes of a small JSON or text file: configs, templates, states. The index of a model with 100,000 tensors
/// takes 10 MB.
pub const SMALL: u64 = 64 << 20;

/// Opens a regular file (or a symbolic link to one) for reading, without waiting. Anything else is an error that names
/// the kind of file.
pub fn open(path: &Path) -> Result<File> {
    // Checked before opening, because opening a device may have side effects.
    check(&std::fs::metadata(path)?)?;
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        // A FIFO may have replaced the file; without this flag, opening it would wait for a writer.
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(libc::O_NONBLOCK);
    }
    let file = options.open(path)?;
    check(&file.metadata()?)?;
    Ok(file)
}

/// Reads a regular file of at most `limit` bytes.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = open(path)?;
    let too_long = |bytes: u64| {
        let what = format!("has {bytes} bytes, more than the limit of {limit} for such a file");
        Error::new(ErrorKind::FileTooLarge, what)
    };
    let expected = file.metadata()?.len();
    if expected > limit {
        return Err(too_long(expected));
    }
    let mut bytes = Vec::with_capacity(expected as usize);
    // The file may have grown since its length was read.
    file.take(limit + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 {
        length if length > limit => Err(too_long(length)),
        _ => Ok(bytes),
    }
}

/// Reads the text of a regular file of at most `limit` bytes.
pub fn read_text(path: &Path, limit: u64) -> Result<String> {
    String::from_utf8(read(path, limit)?).map_err(|_| Error::new(ErrorKind::InvalidData, "is not UTF-8 text"))
}

fn check(metadata: &Metadata) -> Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    let what = format!("is {}, expected a regular file", kind(metadata));
    Err(Error::new(ErrorKind::InvalidInput, what))
}

fn kind(metadata: &Metadata) -> &'static str {
    if metadata.is_dir() {
        return "a directory";
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let kind = metadata.file_type();
        if kind.is_fifo() {
            return "a FIFO";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
        if kind.is_socket() {
            return "a socket";
        }
    }
    "not a regular file"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_files_up_to_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(read(&path, 3).unwrap(), b"abc");
        assert_eq!(read_text(&path, 3).unwrap(), "abc");
        let error = read(&path, 2).unwrap_err().to_string();
        assert!(error.contains("has 3 bytes") && error.contains("the limit of 2"), "{error}");
        assert!(open(dir.path()).unwrap_err().to_string().contains("is a directory"));
        assert_eq!(open(&dir.path().join("absent")).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    #[cfg(unix)]
    fn fifos_devices_and_sockets_are_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        assert!(open(&fifo).unwrap_err().to_string().contains("is a FIFO"));
        assert!(open(Path::new("/dev/zero")).unwrap_err().to_string().contains("is a device"));
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(open(&socket).unwrap_err().to_string().contains("is a socket"));
        // Through a symbolic link as well.
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&fifo, &link).unwrap();
        assert!(open(&link).unwrap_err().to_string().contains("is a FIFO"));
    }
}
