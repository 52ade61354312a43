//! The f32 blocks of a checkpoint: `training_state.safetensors`.

use crate::error::Error;
use meno_comm::Communicator;
use meno_model::expert_parallel::ExpertRank;
use meno_model::shared_file::{SharedFile, SharedTensor};
use meno_model::{LoadOptions, Model, input};
use meno_tensor::backend::{Buffer, Weights};
use safetensors::tensor::{Dtype as SafeDtype, SafeTensors};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

/// The f32 blocks that belong to a [`super::State`].
pub type Blocks<'a> = Vec<Block<'a>>;

/// Values to write.
#[derive(Clone, Copy)]
enum Values<'a> {
    Buffer(&'a dyn Buffer),
    Weights(&'a dyn Weights),
}

/// A named f32 block: a vector that lies on the devices of one or all ranks.
pub struct Block<'a> {
    name: &'static str,
    /// The length of the whole block.
    len: usize,
    values: Values<'a>,
    /// The part that this rank has, one range after the other. `None` if every rank has all values.
    owned: Option<&'a [Range<usize>]>,
}

impl<'a> Block<'a> {
    /// A block that every rank has.
    pub fn whole(name: &'static str, values: &'a dyn Buffer) -> Block<'a> {
        Block { name, len: values.len(), values: Values::Buffer(values), owned: None }
    }

    /// A block of `len` values of which `values` holds the ranges `owned`; other ranks hold the others.
    pub fn part(name: &'static str, len: usize, values: &'a dyn Buffer, owned: &'a [Range<usize>]) -> Block<'a> {
        Block { name, len, values: Values::Buffer(values), owned: Some(owned) }
    }

    /// The f32 weights; this rank writes the ranges `owned`.
    pub fn weights(weights: &'a dyn Weights, owned: &'a [Range<usize>]) -> Block<'a> {
        Block { name: MASTER, len: weights.layout().total(), values: Values::Weights(weights), owned: Some(owned) }
    }

    /// Calls `write` with the first value's place in the block and the bytes, for everything that this rank writes.
    fn write(&self, comm: &dyn Communicator, write: &mut WritePart) -> Result<(), meno_model::Error> {
        let all = match self.values {
            Values::Buffer(_) => Cow::default(),
            Values::Weights(weights) => weights.read_all()?,
        };
        let mut pieces = Vec::new();
        match self.owned {
            None => pieces.push((comm.share(self.len), comm.share(self.len).start)),
            Some(owned) => {
                let mut at = 0;
                for range in owned {
                    pieces.push((range.clone(), at));
                    at += range.len();
                }
            }
        }
        for (place, from) in pieces {
            for start in place.clone().step_by(PIECE) {
                let (end, from) = (place.end.min(start + PIECE), from + (start - place.start));
                let values = match self.values {
                    Values::Buffer(buffer) => buffer.read(from..from + (end - start))?,
                    // Weights are not packed: they lie at their places.
                    Values::Weights(_) => Cow::Borrowed(&all[start..end]),
                };
                write(start, bytemuck::cast_slice(&values))?;
            }
        }
        Ok(())
    }
}

/// Writes bytes of a block, from the value at a place on.
type WritePart<'w> = dyn FnMut(usize, &[u8]) -> Result<(), meno_model::Error> + 'w;

/// Values read from the device at once.
const PIECE: usize = 1 << 24;

/// Writes the f32 blocks of a `training_state.safetensors`. All ranks call it; each writes what it owns, and a share of
/// the blocks that every rank has.
pub(super) fn write_blocks(file: &Path, blocks: &[Block], comm: &dyn Communicator) -> Result<(), Error> {
    let tensor = |b: &Block| SharedTensor { name: b.name.into(), dtype: SafeDtype::F32, shape: vec![b.len] };
    let shared = SharedFile::new(blocks.iter().map(tensor).collect(), None);
    Ok(shared.write(file, comm, |writer| {
        blocks.iter().try_for_each(|block| {
            block.write(comm, &mut |at, bytes| writer.write(block.name, at * size_of::<f32>(), bytes))
        })
    })?)
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

/// Loads the model of a checkpoint, with the experts that `like` has.
pub(crate) fn load_like(path: &Path, like: &Model, comm: &dyn Communicator) -> Result<Model, Error> {
    let own = ExpertRank { rank: comm.rank(), ranks: comm.size() };
    let experts = (!like.layout().is_complete()).then_some(own);
    Ok(Model::load_with(path, LoadOptions { experts, ..LoadOptions::default() }, &mut |_, _| {})?)
}

/// Copies the weights between models of the same shape.
pub(crate) fn copy_weights(from: &Model, to: &mut Model) -> Result<(), Error> {
    for (p, info) in to.layout().clone().iter().filter(|(_, info)| !info.absent) {
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
    for (p, info) in layout.iter().filter(|(_, info)| !info.absent) {
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
    use meno_comm::threads::ranks;
    use meno_tensor::backend;
    use meno_tensor::device::Device;

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
        fn add(&mut self, _: &dyn Buffer) -> Result<(), backend::Error> {
            Err(lost())
        }
        fn zero(&mut self) -> Result<(), backend::Error> {
            Err(lost())
        }
        fn mix(&mut self, _: &dyn Weights, _: f32) -> Result<(), backend::Error> {
            Err(lost())
        }
    }

    #[test]
    fn a_lost_device_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let blocks = ["exp_avg", "exp_avg_sq"].map(|name| Block::whole(name, &Lost));
        let error = write_blocks(&dir.path().join("state.safetensors"), &blocks, &meno_comm::Solo).unwrap_err();
        assert!(matches!(&error, Error::Model(meno_model::Error::Device(cause)) if *cause == lost()), "{error}");
    }

    #[test]
    fn parts_of_ranks_make_one_block() {
        let cpu = Device::Cpu.open().unwrap();
        let buffer = |values: &[f32]| {
            let mut buffer = cpu.buffer(values.len()).unwrap();
            buffer.update(0..values.len(), &mut |v| v.copy_from_slice(values)).unwrap();
            buffer
        };
        let all: Vec<f32> = (0..10).map(|i| i as f32).collect();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state.safetensors");
        ranks(2, |comm| {
            let (owned, values) = match comm.rank() {
                0 => (vec![3..5, 8..10], [3.0, 4.0, 8.0, 9.0].to_vec()),
                _ => (vec![0..3, 5..8], [0.0, 1.0, 2.0, 5.0, 6.0, 7.0].to_vec()),
            };
            let (part, whole) = (buffer(&values), buffer(&all));
            let blocks = [Block::part("exp_avg", 10, &*part, &owned), Block::whole("ref_model", &*whole)];
            write_blocks(&file, &blocks, &*comm).unwrap();
        });
        let blocks = read_blocks(&file).unwrap();
        assert_eq!((&blocks["exp_avg"], &blocks["ref_model"]), (&all, &all));
    }
}
