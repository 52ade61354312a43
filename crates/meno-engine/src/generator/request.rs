//! Requests, and the answers to them.

use super::event::Finish;
use super::observe::Observe;
use crate::constraint::Constraint;
use crate::error::Error;
use crate::sampler::Sampling;

/// A prompt and how to continue it.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Token ids.
    pub prompt: Vec<u32>,
    /// Number of answers.
    pub n: usize,
    /// How tokens are chosen and when to stop.
    pub sampling: Sampling,
    /// The key of the random numbers: seed, step, sequence. Sample j draws its token at position p from `[seed, step,
    /// sequence * n + j, p]`.
    pub key: [u64; 3],
}

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// The index of the request.
    pub request: usize,
    /// The index of the sample among the request's `n`.
    pub sample: usize,
    /// The tokens, including a stop token.
    pub tokens: Vec<u32>,
    /// For every token, its log-probability in the full distribution at the sampling temperature (at 1 for greedy).
    pub logprobs: Vec<f32>,
    /// Why it ended.
    pub finish: Finish,
}

/// A queued or running request.
pub(crate) struct Job {
    /// Identifies the job in events.
    pub(crate) id: u64,
    /// Prefixes are shared only among jobs with the same salt.
    pub(crate) salt: u64,
    pub(crate) request: Request,
    /// What to report about the prompt.
    pub(crate) observe: Observe,
    /// One constraint per sample, or none.
    pub(crate) constraints: Vec<Box<dyn Constraint>>,
}

/// Checks that a request can be answered with this vocabulary and context length.
pub(crate) fn check(r: &Request, vocab: usize, max_len: usize) -> Result<(), Error> {
    let error = |message: String| Error::Request { request: 0, message };
    if r.prompt.is_empty() {
        return Err(error("the prompt is empty; it needs at least one token".into()));
    }
    if r.prompt.len() >= max_len {
        return Err(Error::PromptTooLong { prompt: r.prompt.len(), context: max_len });
    }
    if let Some(token) = r.prompt.iter().find(|&&t| t as usize >= vocab) {
        return Err(error(format!("token {token} of the prompt is outside the vocabulary of {vocab}")));
    }
    r.sampling.check().map_err(error)
}
