//! Tasks, verifiers and scores: asks a model questions, checks its answers and reports scores with confidence
//! intervals.
//!
//! Reinforcement learning (as the reward) and evaluation (as the score) use the same verifiers (R1 §2.2.2, §3).

pub mod consensus;
pub mod error;
pub mod interval;
pub mod pass_at_k;
pub mod records;
pub mod sandbox;
pub mod score;
pub mod tasks;
pub mod verify;

pub use error::Error;
pub use interval::Interval;
pub use tasks::{Problem, Split, Task};
pub use verify::Verdict;
