//! Checkpoints: a loadable Hugging Face directory with the training state next to the weights.
//!
//! ```text
//! OUT/checkpoint-40/config.json model.safetensors tokenizer.json …   any tool loads it
//! OUT/checkpoint-40/training_state.json                               step, position in the data, rollouts of a step
//! OUT/checkpoint-40/training_state.safetensors                        optimizer, reference model, f32 weights
//! OUT/checkpoint-40/checksums.json                                    length and SHA-256 of all these files
//! ```
//! A checkpoint is written under a temporary name, synced to disk and renamed. So a directory with the final name is
//! complete, no matter when the process is killed. Checksums detect later damage (a faulty disk, a bad copy): a run
//! continues from the newest checkpoint that is intact.

mod blocks;
mod checkpoints;
pub(crate) mod checksums;
mod found;
mod resume;
mod save;
mod state;

pub use blocks::{Block, Blocks, OwnedBlocks, read_blocks};
pub(crate) use blocks::{copy_weights, load_like, set_buffer};
pub use checkpoints::Checkpoints;
pub use found::Found;
pub(crate) use resume::resume;
pub use save::{save, save_model};
pub(crate) use save::{sync, sync_files};
pub(crate) use state::Unfinished;
pub use state::{RunInputs, State, read_state};
