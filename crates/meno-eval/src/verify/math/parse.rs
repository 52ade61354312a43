//! Parses an answer into trees: a precedence parser over [`tokens`](super::token).
//!
//! From loose to tight: `;`, then `,` "and" "or", logic, relations, ∪ ∩ ∖, `a : b`, sums, products (explicit or
//! implied, left to right with `/`), signs, powers and postfix marks, atoms. A function name without brackets applies
//! to the implied product after it (`\cos 2x`), up to the next sum, relation, explicit operator or function.

mod atoms;
mod brackets;
mod command;
mod connectives;
mod factors;
mod grammar;
mod matrix;
mod parser;
mod postfix;
mod quantity;
mod readings;
mod sums;

pub(super) use connectives::is_connective;
pub(super) use factors::is_numeric;
pub(super) use readings::has_long_words;
pub use readings::parse;
