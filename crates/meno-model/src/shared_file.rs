//! A safetensors file that the ranks of a run write together: each writes a part of the tensors' bytes. The file has
//! the same bytes for any number of ranks.

use crate::Error;
use crate::temporary::Temporary;
use meno_comm::Communicator;
use safetensors::tensor::{Metadata, TensorInfo};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A tensor of the file.
#[derive(Clone, Debug)]
pub struct SharedTensor {
    /// Its name.
    pub name: String,
    /// Its type.
    pub dtype: safetensors::Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl SharedTensor {
    fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

/// The header of a file, and the places of its tensors.
pub struct SharedFile {
    header: Vec<u8>,
    /// The bytes of each tensor in the file.
    places: HashMap<String, Range<u64>>,
    end: u64,
}

impl SharedFile {
    /// Plans a file of these tensors, in the order of the crate `safetensors`: by type, then by name.
    pub fn new(mut tensors: Vec<SharedTensor>, metadata: Option<HashMap<String, String>>) -> SharedFile {
        tensors.sort_by(|a, b| b.dtype.cmp(&a.dtype).then(a.name.cmp(&b.name)));
        let mut at = 0;
        let mut infos = Vec::with_capacity(tensors.len());
        for tensor in &tensors {
            let data_offsets = (at, at + tensor.bytes());
            at = data_offsets.1;
            let info = TensorInfo { dtype: tensor.dtype, shape: tensor.shape.clone(), data_offsets };
            infos.push((tensor.name.clone(), info));
        }
        let metadata = Metadata::new(metadata, infos.clone()).expect("invariant: the offsets are contiguous");
        let mut json = serde_json::to_vec(&metadata).expect("invariant: a header is plain data");
        json.resize(json.len().next_multiple_of(8), b' ');
        let header = [&(json.len() as u64).to_le_bytes()[..], &json].concat();
        let place = |(start, end): (usize, usize)| (header.len() + start) as u64..(header.len() + end) as u64;
        let places = infos.into_iter().map(|(name, info)| (name, place(info.data_offsets))).collect();
        let end = (header.len() + at) as u64;
        SharedFile { header, places, end }
    }

    /// Returns the rank of `size` that writes the whole tensor `name`: ranks write about as many bytes each.
    pub fn writer(&self, name: &str, size: usize) -> usize {
        let place = &self.places[name];
        let (middle, start) = ((place.start + place.end) / 2, self.header.len() as u64);
        ((middle - start) as u128 * size as u128 / (self.end - start).max(1) as u128).min(size as u128 - 1) as usize
    }

    /// Writes the file at `path`, under a temporary name first. `write` writes this rank's part. All ranks call it.
    pub fn write(
        &self,
        path: &Path,
        comm: &dyn Communicator,
        write: impl FnOnce(&mut SharedWriter) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let temporary = comm.is_first().then(|| Temporary::beside(path));
        let first = temporary.as_ref().map(|t| t.path().as_os_str().as_encoded_bytes().to_vec());
        let name = comm.from_rank(0, || first.unwrap_or_default());
        let at = match &temporary {
            Some(temporary) => temporary.path().to_owned(),
            None => PathBuf::from(String::from_utf8_lossy(&name).into_owned()),
        };
        if comm.is_first() {
            self.create(&at).map_err(Error::io(path))?;
        }
        comm.barrier();
        let file = File::options().write(true).open(&at).map_err(Error::io(&at))?;
        let mut writer = SharedWriter { shared: self, path, file };
        write(&mut writer)?;
        writer.file.sync_all().map_err(Error::io(path))?;
        comm.barrier();
        if let Some(temporary) = temporary {
            temporary.persist(path).map_err(Error::io(path))?;
        }
        Ok(())
    }

    /// Creates the file with its header and its length.
    fn create(&self, path: &Path) -> std::io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(&self.header)?;
        file.set_len(self.end)
    }
}

/// Writes a rank's part of a [`SharedFile`].
pub struct SharedWriter<'a> {
    shared: &'a SharedFile,
    path: &'a Path,
    file: File,
}

impl SharedWriter<'_> {
    /// Writes bytes of the tensor `name` from its byte `offset` on.
    ///
    /// # Panics
    /// Panics if the bytes are not inside of the tensor, which is a bug of the caller.
    pub fn write(&mut self, name: &str, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        let place = &self.shared.places[name];
        let start = place.start + offset as u64;
        assert!(start + bytes.len() as u64 <= place.end, "invariant: the bytes belong to {name}");
        let mut write = || {
            self.file.seek(SeekFrom::Start(start))?;
            self.file.write_all(bytes)
        };
        write().map_err(Error::io(self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meno_comm::threads::ranks;
    use safetensors::tensor::TensorView;

    #[test]
    fn any_number_of_ranks_writes_the_bytes_of_the_crate() {
        let values: Vec<f32> = (0..60).map(|i| i as f32).collect();
        let bytes: &[u8] = bytemuck::cast_slice(&values);
        let half = &bytes[..40];
        let view = |dtype, shape, bytes| TensorView::new(dtype, shape, bytes).unwrap();
        let views = [
            ("b", view(safetensors::Dtype::F32, vec![3, 20], bytes)),
            ("a", view(safetensors::Dtype::BF16, vec![20], half)),
            ("c", view(safetensors::Dtype::F32, vec![60], bytes)),
        ];
        let metadata = Some(HashMap::from([("format".to_owned(), "pt".to_owned())]));
        let expected = safetensors::serialize(views.clone(), metadata.clone()).unwrap();
        let tensors = views.iter().map(|(name, view)| SharedTensor {
            name: name.to_string(),
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
        });
        let tensors: Vec<_> = tensors.collect();
        for size in [1, 2, 4] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("model.safetensors");
            ranks(size, |comm| {
                let file = SharedFile::new(tensors.clone(), metadata.clone());
                file.write(&path, &*comm, |writer| {
                    for (name, view) in &views {
                        let part = comm.share(view.data().len());
                        writer.write(name, part.start, &view.data()[part])?;
                    }
                    Ok(())
                })
                .unwrap();
                assert!(views.iter().all(|(name, _)| file.writer(name, comm.size()) < comm.size()));
            });
            assert_eq!(std::fs::read(&path).unwrap(), expected);
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
        }
    }
}
