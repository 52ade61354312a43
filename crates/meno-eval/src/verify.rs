//! Verifiers: decide whether a response answers its question correctly.

pub mod choice;
pub mod code;
pub mod countdown;
pub mod extract;
mod judgement;
pub mod math;

pub use extract::{Marker, after_thinking, boxed, extract, tagged};
pub use judgement::{Judgement, Verdict};
