//! What a generator reports while it works, and what its caller answers.

use super::TokenLogprob;

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finish {
    /// A stop token (the last of the tokens), or the caller said so.
    Stop,
    /// `max_tokens`, or the context is full.
    Length,
    /// The caller cancelled everything.
    Cancelled,
    /// The network's logits are not finite, so there is no next token.
    NotFinite,
}

/// A token just chosen.
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
    /// Set with the last token of the answer.
    pub finish: Option<Finish>,
}

/// What the caller wants after a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// This answer is complete.
    Stop,
    /// Stop everything.
    Cancel,
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The prompt of a sample has been run; its first token follows.
    Prompt {
        /// The index among the request's `n`.
        sample: usize,
        /// How many of the prompt's tokens were found in the cache.
        cached: usize,
    },
    /// More log-probabilities of the prompt, in order, beginning with that of its second token. They come before
    /// [`Event::Prompt`], where [`Observe::Logprobs`](super::Observe::Logprobs) asks for them.
    PromptLogprobs {
        /// The index among the request's `n`: the first.
        sample: usize,
        /// Of the next tokens.
        logprobs: Vec<TokenLogprob>,
    },
    /// The hidden states of the prompt in one vector. It comes before [`Event::Prompt`], where
    /// [`Observe::Hidden`](super::Observe::Hidden) asks for it.
    Hidden {
        /// The index among the request's `n`: the first.
        sample: usize,
        /// As wide as the network; not normalised.
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
        /// The most likely tokens there, see [`Sampling::top_logprobs`](crate::Sampling::top_logprobs).
        top_logprobs: Vec<(u32, f32)>,
        /// Set if the engine ends the answer with this token.
        finish: Option<Finish>,
    },
    /// A sample is complete; the last that is heard of it.
    Finish {
        /// The index among the request's `n`.
        sample: usize,
        /// Why.
        finish: Finish,
    },
}

impl Event {
    /// The sample that it is about.
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

/// Sees the events of jobs, by their id.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(u64, Event) -> Flow;
