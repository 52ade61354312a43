//! Mathematical answers: decides whether a response gives the value of a reference.
//!
//! Three parts, each separately testable: [`extract`](super::extract()) finds the answer in a response, [`parse`] reads
//! text into a typed [`tree`], [`same`] decides whether two trees are equal. docs/verifiers.md lists the supported
//! notations.
//!
//! A text can have several readings (`1,234` is a number or a list, `5 m` has a unit or a factor m). Two answers are
//! equal if any reading of one equals any reading of the other.

mod compare;
mod conditions;
mod matrix;
mod names;
mod parse;
mod print;
pub(super) mod reading;
mod real_set;
mod reference;
mod rewritten;
pub mod scalar;
pub(super) mod symbols;
mod token;
pub mod tree;
mod units;

pub use compare::same;
pub use parse::parse;
pub use reference::{Reference, answer, equal, is_right, judge, reference};

#[cfg(test)]
mod tests;
