//! The ops of the tape, one file each: forward, backward, plain reference and finite-difference test.

pub mod embedding;
pub mod linear;
