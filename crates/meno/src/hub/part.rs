//! The first part of a file, `DIGEST.incomplete` as in Python's `huggingface_hub`: what a pull received so far. Its
//! digest is computed while bytes arrive.

use super::error::Error;
use super::repo_info::RepoFile;
use ring::digest;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Bytes per read.
const CHUNK: usize = 1 << 18;

/// The first part of a file, with the state of its digest.
pub(super) struct Part {
    path: PathBuf,
    out: File,
    /// Bytes that are there.
    pub have: u64,
    size: u64,
    /// True if the digest is a Git object id, false if it is SHA-256.
    git: bool,
    context: digest::Context,
}

impl Part {
    /// Opens what an earlier run left of `file`, or creates it.
    pub(super) fn open(file: &RepoFile, blob: &Path) -> Result<Part, Error> {
        let path = PathBuf::from(format!("{}.incomplete", blob.display()));
        let out = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let out = out.map_err(Error::io(&path))?;
        let git = file.digest.len() == 40;
        let context = context(git, file.size);
        let mut part = Part { path, out, have: 0, size: file.size, git, context };
        part.take_in()?;
        Ok(part)
    }

    /// Reads what an earlier run left, and adds it to the digest.
    fn take_in(&mut self) -> Result<(), Error> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = self.out.read(&mut buffer).map_err(Error::io(&self.path))?;
            if read == 0 {
                break;
            }
            self.have += read as u64;
            self.context.update(&buffer[..read]);
        }
        if self.have > self.size { self.restart() } else { Ok(()) }
    }

    /// Removes the content: the entire file is received again.
    pub(super) fn restart(&mut self) -> Result<(), Error> {
        self.out.set_len(0).map_err(Error::io(&self.path))?;
        self.out.seek(SeekFrom::Start(0)).map_err(Error::io(&self.path))?;
        self.have = 0;
        self.context = context(self.git, self.size);
        Ok(())
    }

    /// Appends bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(Error::io(&self.path))?;
        self.context.update(bytes);
        self.have += bytes.len() as u64;
        Ok(())
    }

    /// The digest of what is there, in hexadecimal.
    pub(super) fn digest(&self) -> String {
        let digest = self.context.clone().finish();
        digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Removes the file.
    pub(super) fn remove(self) {
        // If the file cannot be removed, the next run detects the wrong digest again.
        let _ = std::fs::remove_file(&self.path);
    }

    /// Gives the whole file its final name.
    pub(super) fn keep(self, blob: &Path) -> Result<(), Error> {
        self.out.sync_all().map_err(Error::io(blob))?;
        std::fs::rename(&self.path, blob).map_err(Error::io(blob))
    }
}

/// The digest the hub lists: Git's object id (SHA-1 of `blob SIZE\0` and the content) or SHA-256.
fn context(git: bool, size: u64) -> digest::Context {
    if !git {
        return digest::Context::new(&digest::SHA256);
    }
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(format!("blob {size}\0").as_bytes());
    context
}
