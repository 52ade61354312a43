//! Requests, and the answers to them.

use super::event::Finish;
use super::observe::Observe;
use crate::constraint::Constraint;
use crate::error::Error;
use crate::sampler::Sampling;
use meno_tensor::rng::Rng;

/// A prompt and how to continue it.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Token ids.
    pub prompt: Vec<u32>,
    /// Number of answers.
    pub n: usize,
    /// How tokens are chosen and when to stop.
    pub sampling: Sampling,
    /// The key of the random numbers.
    pub key: StreamKey,
}

/// The key of a stream of random numbers. Sample j of a request of n samples draws its token at position p from `[seed,
/// step, sequence * n + j, p]`, so equal keys give equal samples on any machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StreamKey {
    /// The seed of the run.
    pub seed: u64,
    /// The step of the training, or the number of the question.
    pub step: u64,
    /// The number of the request in the step.
    pub sequence: u64,
}

impl StreamKey {
    /// Returns the key of the first request with this seed.
    pub const fn seeded(seed: u64) -> StreamKey {
        StreamKey { seed, step: 0, sequence: 0 }
    }

    /// Returns the key of sample `sample` of a request of `n` samples with this key.
    pub fn of_sample(self, n: usize, sample: usize) -> StreamKey {
        StreamKey { sequence: self.sequence.wrapping_mul(n as u64).wrapping_add(sample as u64), ..self }
    }

    /// Returns the random numbers of the token at `position`.
    pub(super) fn rng(self, position: usize) -> Rng {
        Rng::new(&[self.seed, self.step, self.sequence, position as u64])
    }
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
