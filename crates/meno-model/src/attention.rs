//! Options shared by both kinds of attention when they are appended to a program.

use meno_tensor::ops::rope::RopeTable;
use std::sync::Arc;

/// The options of a layer's attention.
pub(crate) struct AttentionOptions {
    /// Rotation angles.
    pub(crate) rope: Arc<RopeTable>,
    /// Index in the KV cache.
    pub(crate) layer: usize,
    /// If true, MLA works on the latent (inference only).
    pub(crate) absorbed: bool,
}
