//! The f32 blocks of a checkpoint: `training_state.safetensors`.

use crate::error::Error;
use meno_model::{Model, input};
use meno_tensor::backend::{self, Buffer, Weights};
use safetensors::tensor::{Dtype as SafeDtype, SafeTensors, View};
use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::path::Path;

/// Named f32 blocks that belong to a [`super::State`]: vectors on the device.
pub type Blocks<'a> = Vec<(String, &'a dyn Buffer)>;

/// A block to write.
#[derive(Clone, Copy)]
pub(super) enum Block<'a> {
    Buffer(&'a dyn Buffer),
    Weights(&'a dyn Weights),
}

impl<'a> Block<'a> {
    pub(super) fn len(self) -> usize {
        match self {
            Block::Buffer(buffer) => buffer.len(),
            Block::Weights(weights) => weights.layout().total(),
        }
    }
    fn read(self) -> Result<Cow<'a, [f32]>, backend::Error> {
        match self {
            Block::Buffer(buffer) => buffer.read(0..buffer.len()),
            Block::Weights(weights) => weights.read_all(),
        }
    }
}

/// A block for safetensors, read from the device only when it is written.
struct BlockView<'a> {
    block: Block<'a>,
    shape: [usize; 1],
    /// The error of the first block that the device could not read.
    failed: &'a OnceCell<backend::Error>,
}

impl View for BlockView<'_> {
    fn dtype(&self) -> SafeDtype {
        SafeDtype::F32
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        match self.block.read() {
            Ok(Cow::Borrowed(values)) => Cow::Borrowed(bytemuck::cast_slice(values)),
            Ok(Cow::Owned(values)) => Cow::Owned(bytemuck::cast_slice(&values).to_vec()),
            Err(error) => {
                // `View` cannot return an error: [`write_blocks`] returns it, and the file is not used.
                let _ = self.failed.set(error);
                Cow::Borrowed(&[])
            }
        }
    }
    fn data_len(&self) -> usize {
        self.block.len() * size_of::<f32>()
    }
}

/// Writes the f32 blocks of a `training_state.safetensors`, one after the other.
pub(super) fn write_blocks<'a>(file: &Path, blocks: impl Iterator<Item = (&'a str, Block<'a>)>) -> Result<(), Error> {
    let failed = OnceCell::new();
    let view = |block: Block<'a>| BlockView { block, shape: [block.len()], failed: &failed };
    let written = safetensors::serialize_to_file(blocks.map(|(name, block)| (name, view(block))), None, file);
    if let Some(error) = failed.into_inner() {
        return Err(error.into());
    }
    written.map_err(|e| Error::checkpoint(file, format!("could not be written: {e}")))
}

/// The f32 blocks read from a checkpoint.
pub type OwnedBlocks = HashMap<String, Vec<f32>>;

/// The block of the f32 weights, if the weights themselves are saved in fewer bits.
pub(super) const MASTER: &str = "master_weights";

/// Reads the f32 blocks of a `training_state.safetensors`.
pub fn read_blocks(file: &Path) -> Result<OwnedBlocks, Error> {
    let bytes = input::read(file, u64::MAX - 1).map_err(Error::io(file))?;
    let tensors =
        SafeTensors::deserialize(&bytes).map_err(|e| Error::checkpoint(file, format!("not a training state: {e}")))?;
    let mut blocks = OwnedBlocks::new();
    for (name, view) in tensors.iter() {
        if view.dtype() != SafeDtype::F32 {
            return Err(Error::checkpoint(file, format!("`{name}` is {:?}, expected F32", view.dtype())));
        }
        let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        blocks.insert(name.to_owned(), values);
    }
    Ok(blocks)
}

/// Copies the weights between models of the same shape.
pub(crate) fn copy_weights(from: &Model, to: &mut Model) -> Result<(), Error> {
    for (p, info) in to.layout().clone().iter() {
        let values = from.weights.read(p)?;
        assert!(values.len() == info.len(), "invariant: models of one shape");
        to.weights.update(p, &mut |weights| weights.copy_from_slice(&values))?;
    }
    Ok(())
}

/// Sets all weights from a block of a checkpoint with the layout of the parameters.
pub(super) fn set_weights(path: &Path, from: &[f32], to: &mut Model) -> Result<(), Error> {
    let layout = to.layout().clone();
    check_len(path, MASTER, from.len(), layout.total())?;
    for (p, info) in layout.iter() {
        to.weights.update(p, &mut |weights| weights.copy_from_slice(&from[info.range()]))?;
    }
    Ok(())
}

/// Copies a block of a checkpoint to a vector on the device.
pub(crate) fn set_buffer(path: &Path, name: &str, from: &[f32], to: &mut dyn Buffer) -> Result<(), Error> {
    check_len(path, name, from.len(), to.len())?;
    Ok(to.update(0..from.len(), &mut |values| values.copy_from_slice(from))?)
}

/// Fails if a block belongs to another model.
fn check_len(path: &Path, name: &str, is: usize, expected: usize) -> Result<(), Error> {
    match is == expected {
        true => Ok(()),
        false => {
            Err(Error::checkpoint(path, format!("`{name}` has {is} values, expected {expected}: not the same model")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meno_tensor::device::Device;
    use std::ops::Range;

    /// A vector on a device that no longer answers.
    struct Lost;

    fn lost() -> backend::Error {
        backend::Error::Unsupported { device: Device::Cpu, what: "reading".into() }
    }

    impl Buffer for Lost {
        fn len(&self) -> usize {
            4
        }
        fn read(&self, _: Range<usize>) -> Result<Cow<'_, [f32]>, backend::Error> {
            Err(lost())
        }
        fn update(&mut self, _: Range<usize>, _: &mut dyn FnMut(&mut [f32])) -> Result<(), backend::Error> {
            Err(lost())
        }
        fn mix(&mut self, _: &dyn Weights, _: f32) -> Result<(), backend::Error> {
            Err(lost())
        }
    }

    #[test]
    fn a_lost_device_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let blocks = [("exp_avg", Block::Buffer(&Lost)), ("exp_avg_sq", Block::Buffer(&Lost))];
        let error = write_blocks(&dir.path().join("state.safetensors"), blocks.into_iter()).unwrap_err();
        assert!(matches!(&error, Error::Device(cause) if *cause == lost()), "{error}");
    }
}
