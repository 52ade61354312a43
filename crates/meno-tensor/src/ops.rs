//! The ops of the tape, one file each: forward, backward, plain reference and finite-difference test.
//!
//! An op that writes the gradient of some *columns* of an activation ([`View`]) sets the other columns to zero when
//! it is the first to write there (`!Ctx::adds`), so that the next writer can add.

pub mod attention;
pub mod embedding;
pub mod experts;
pub mod head;
pub mod hidden;
