//! `meno serve` as a process, asked by clients that mean it harm: nothing that one sends ends the server, or keeps it
//! from answering the others.

#![cfg(unix)]
#![allow(clippy::unwrap_used)] // a test may fail by panicking

mod connections;
mod grammars;
mod process;
mod requests;
mod restart;
mod soak;
