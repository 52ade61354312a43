//! Events of a generator, and the caller's replies.

use super::observe::TokenLogprob;
use std::ops::ControlFlow;

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finish {
    /// A stop token (the last token of the answer), or the caller returned [`Stop::Answer`].
    Stop,
    /// `max_tokens` is reached, or the context is full.
    Length,
    /// The caller cancelled the request.
    Cancelled,
    /// The logits are NaN or infinite, so no next token can be chosen.
    NotFinite,
}

/// A newly chosen token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenEvent {
    /// The index of the request.
    pub request: usize,
    /// The index among the request's `n`.
    pub sample: usize,
    /// The index of the token in the answer.
    pub index: usize,
    /// The token.
    pub token: u32,
    /// Its log-probability, see [`Completion::logprobs`](super::Completion::logprobs).
    pub logprob: f32,
    /// Set on the last token of the answer.
    pub finish: Option<Finish>,
}

/// What a caller stops when it replies to an event with [`ControlFlow::Break`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// This answer; it ends with [`Finish::Stop`].
    Answer,
    /// All answers of the call or of the submission; incomplete ones end with [`Finish::Cancelled`].
    All,
}

/// An event of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The prompt of a sample has been computed; its first token follows.
    Prompt {
        /// The index among the request's `n`.
        sample: usize,
        /// Number of prompt tokens found in the cache.
        cached: usize,
    },
    /// Further log-probabilities of the prompt, in order, starting with that of its second token. Sent before
    /// [`Event::Prompt`], if [`Observe::Logprobs`](super::Observe::Logprobs) is set.
    PromptLogprobs {
        /// The index among the request's `n`: that of the first sample.
        sample: usize,
        /// Log-probabilities of the next tokens.
        logprobs: Vec<TokenLogprob>,
    },
    /// The hidden states of the prompt, pooled into one vector. Sent before [`Event::Prompt`], if
    /// [`Observe::Hidden`](super::Observe::Hidden) is set.
    Hidden {
        /// The index among the request's `n`: that of the first sample.
        sample: usize,
        /// As wide as the network's hidden state; not normalized.
        vector: Vec<f32>,
    },
    /// A token was chosen.
    Token {
        /// The index among the request's `n`.
        sample: usize,
        /// The index of the token in the answer.
        index: usize,
        /// The token.
        token: u32,
        /// Its log-probability, see [`Sampling::logprob_temperature`](crate::Sampling::logprob_temperature).
        logprob: f32,
        /// The most likely tokens at this position, see [`Sampling::top_logprobs`](crate::Sampling::top_logprobs).
        top_logprobs: Vec<(u32, f32)>,
        /// Set if the engine ends the answer with this token.
        finish: Option<Finish>,
    },
    /// A sample is complete. No further events follow for it.
    Finish {
        /// The index among the request's `n`.
        sample: usize,
        /// Why it ended.
        finish: Finish,
    },
}

impl Event {
    /// Returns the index of the sample that the event belongs to.
    pub fn sample(&self) -> usize {
        match *self {
            Event::Prompt { sample, .. }
            | Event::PromptLogprobs { sample, .. }
            | Event::Hidden { sample, .. }
            | Event::Token { sample, .. }
            | Event::Finish { sample, .. } => sample,
        }
    }
}

/// Receives the events of jobs, with the job's id. The replies to [`Event::Prompt`] and [`Event::Finish`] are ignored.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(u64, Event) -> ControlFlow<Stop>;
