//! What both kinds of attention need when they are appended to a program.

use meno_tensor::ops::rope::RopeTable;
use std::sync::Arc;

/// The context of a layer's attention.
pub(crate) struct AttentionOptions {
    /// Angles.
    pub(crate) rope: Arc<RopeTable>,
    /// Index in the KV cache.
    pub(crate) layer: usize,
    /// Whether MLA works on the latent (inference only).
    pub(crate) absorbed: bool,
}
