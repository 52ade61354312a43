//! Identifies the data of a run by the length and SHA-256 of every file.

use crate::error::Error;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The fingerprint of a file's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The path of the file. The same content at another path is the same data.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// The SHA-256 of its content, in hexadecimal.
    pub sha256: String,
}

impl Fingerprint {
    /// Computes the fingerprint of a file.
    pub fn of(path: &Path) -> Result<Fingerprint, Error> {
        let mut file = meno_model::input::open(path).map_err(Error::io(path))?;
        let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
        let (mut bytes, mut buffer) = (0, vec![0; 1 << 16]);
        loop {
            let n = file.read(&mut buffer).map_err(Error::io(path))?;
            if n == 0 {
                break;
            }
            bytes += n as u64;
            digest.update(&buffer[..n]);
        }
        let mut sha256 = String::new();
        for byte in digest.finish().as_ref() {
            let _ = write!(sha256, "{byte:02x}"); // writing to a string cannot fail
        }
        Ok(Fingerprint { path: path.to_owned(), bytes, sha256 })
    }

    /// Returns true if the content is the same.
    pub fn same(&self, other: &Fingerprint) -> bool {
        (self.bytes, &self.sha256) == (other.bytes, &other.sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_sha256() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "abc").unwrap();
        let a = Fingerprint::of(&path).unwrap();
        // FIPS 180-2, appendix B.1.
        assert_eq!(a.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let moved = dir.path().join("b");
        std::fs::rename(&path, &moved).unwrap();
        assert!(a.same(&Fingerprint::of(&moved).unwrap()));
        std::fs::write(&moved, "abd").unwrap();
        assert!(!a.same(&Fingerprint::of(&moved).unwrap()));
    }
}
