//! The networks and their checkpoints.

pub mod gguf;
