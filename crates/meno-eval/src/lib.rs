//! Tasks, verifiers and scores: asks a model questions, checks its answers and reports scores with confidence
//! intervals.
//!
//! Reinforcement learning (as the reward) and evaluation (as the score) use the same verifiers (R1 §2.2.2, §3).
//!
//! ```
//! use meno_eval::{Verdict, pass_at_k::pass_at_k, verify::math};
//!
//! let judgement = math::judge("0.5", r"Half of it remains: \boxed{\frac12}", false);
//! assert_eq!(judgement.verdict, Verdict::Right);
//! assert_eq!(judgement.extracted.as_deref(), Some(r"\frac12"));
//! assert_eq!(math::judge(r"\frac12", r"\boxed{0.4}", false).verdict, Verdict::Wrong);
//! assert!(math::equal(r"\frac12", "0.5"));
//! // One right answer of four: a draw of two holds it every other time.
//! assert!((pass_at_k(4, 1, 2).unwrap() - 0.5).abs() < 1e-12);
//! ```

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
