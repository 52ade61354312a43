//! Every route, through the router and without a socket, on a small random network with characters as tokens.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

mod chat;
mod compat;
mod crowd;
mod messages;
mod not_finite;
mod other_routes;
mod padded;
mod prompts;
mod refused;
mod soak;
mod socket;
mod steered;
mod support;
