//! What the engine is asked to do.

use crate::constraint::Constraint;
use crate::error::Error;
use crate::generator::{Event, Observe, Request, Stop};
use std::ops::ControlFlow;

/// A request with its constraints and its event callback.
pub struct Submission {
    /// Prompt, number of samples, sampling, key of the random numbers.
    pub request: Request,
    /// The owner of the request. Prefixes of prompts are shared and kept only among requests with the same salt.
    /// Otherwise a client could recover another client's prompt, token by token, from what it finds in the cache.
    pub salt: u64,
    /// What to report about the prompt, in addition to the answer.
    pub observe: Observe,
    /// One constraint per sample, or none.
    pub constraints: Vec<Box<dyn Constraint>>,
    /// Receives all events in order, on the engine's thread. The engine waits for it, so it should hand the event over
    /// and return. The last event of every sample is [`Event::Finish`], unless the ticket was dropped. Breaking
    /// with [`Stop::Answer`] after a token completes the sample; with [`Stop::All`] it cancels the whole request.
    pub on_event: Box<dyn FnMut(Event) -> ControlFlow<Stop> + Send>,
}

/// Why a submission was rejected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// Too many samples are waiting.
    #[error("{waiting} requests are waiting already; try again later")]
    Busy {
        /// Number of waiting samples.
        waiting: usize,
    },
    /// The engine is shutting down, or has failed.
    #[error("the engine is shutting down")]
    Stopping,
    /// The request is invalid.
    #[error(transparent)]
    Invalid(#[from] Error),
}
