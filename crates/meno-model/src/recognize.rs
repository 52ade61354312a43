//! Explains why a path is not a usable model. Every way of opening a model gives these answers.
//!
//! [`check`] answers the whole question ("can this be run?"), [`check_headers`] only the part that a listing of tensors
//! needs. Both read headers only. Their errors state what the file or directory seems to be, and what to do about it.

mod check;
pub(crate) mod content;
pub(crate) mod kind;

pub use check::{check, check_headers};
pub use content::instead;
