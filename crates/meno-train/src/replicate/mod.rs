//! `meno replicate`: R1, whole and small, from nothing.
//!
//! The stages of the paper (arXiv 2501.12948), in its order, on a family of questions that a network of a million
//! parameters can learn to reason about: [`corpus`] is its web, [`work`] what thoughts look like.

pub mod corpus;
pub mod tokenizer;
pub mod work;
