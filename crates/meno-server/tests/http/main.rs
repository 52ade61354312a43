//! Tests of all routes with a small random network whose tokens are characters. Most call the router without a socket.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

mod chat;
mod compat;
mod concurrency;
mod constraints;
mod messages;
mod not_finite;
mod other_routes;
mod padded;
mod prompts;
mod rejected;
mod soak;
mod socket;
mod support;
