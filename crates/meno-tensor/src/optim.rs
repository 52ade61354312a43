//! Optimizers over the flat layout of [`crate::params::Params`].
