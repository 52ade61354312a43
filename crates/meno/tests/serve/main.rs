//! `meno serve` as a process, with malicious clients: no request ends the server or stops it from answering
//! other clients.

#![cfg(unix)]
#![allow(clippy::unwrap_used)] // a test may fail by panicking

mod connections;
mod grammars;
mod process;
mod requests;
mod restart;
mod soak;
